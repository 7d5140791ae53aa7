const swc = [
  '@swc/jest',
  {
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'es6' },
    sourceMaps: 'inline',
  },
];

const shared = {
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': swc },
  // One alias for tsc, jest, dependency-cruiser and node: package.json "imports", condition "source".
  testEnvironmentOptions: { customExportConditions: ['source', 'node', 'node-addons'] },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  testEnvironment: 'node',
  // Other people's programs that e2e tests start (scripts/gateways.sh).
  modulePathIgnorePatterns: ['<rootDir>/.gateways/'],
};

export default {
  // Nothing waits this long; a machine with two busy cores may. Tests of whole processes give their own.
  testTimeout: 60_000,
  // A suite waits for its servers half of the time, so two take turns well on two cores.
  maxWorkers: 2,
  reporters: ['default', '<rootDir>/test/support/no-skip-reporter.js'],
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: [
        '<rootDir>/libs/**/*.spec.ts',
        '<rootDir>/apps/**/*.spec.ts',
        '<rootDir>/test/architecture/**/*.spec.ts',
        '<rootDir>/clients/typescript/test/**/*.spec.ts',
      ],
    },
    {
      ...shared,
      displayName: 'services',
      testMatch: ['<rootDir>/test/{integration,contract,model,migration,e2e}/**/*.spec.ts'],
      globalSetup: '<rootDir>/test/support/global-setup.js',
      globalTeardown: '<rootDir>/test/support/global-teardown.js',
    },
  ],
};
