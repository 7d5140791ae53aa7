/**
 * ESLint (flat config): nobody makes a client of a model provider beside Tollgate. Copy it, or spread it into your own:
 * `import tollgate from './clients/lint/eslint.config.mjs'; export default [...tollgate, ...]`.
 * The one file that makes the metered client is allowed to; name it in the last entry.
 */
const WHY = 'calls that nobody pays for start here: use the metered client (withTollgate of @tollgate/client/openai).';
const CLIENTS = [
  'openai',
  '@anthropic-ai/sdk',
  '@aws-sdk/client-bedrock-runtime',
  '@google/genai',
  '@google/generative-ai',
  '@mistralai/mistralai',
  'cohere-ai',
  'groq-sdk',
  'together-ai',
];
// Anchored: a gitignore-style group "openai" would also match "@tollgate/client/openai".
const RAW = `^(${CLIENTS.join('|')})(/|$)`;
const SELECTED = `/${RAW.replaceAll('/', '\\u002F')}/`;

export default [
  {
    name: 'tollgate/no-raw-clients',
    files: ['**/*.{js,mjs,cjs,jsx,ts,mts,cts,tsx}'],
    rules: {
      // Types are no calls.
      'no-restricted-imports': ['error', { patterns: [{ regex: RAW, message: WHY, allowTypeImports: true }] }],
      'no-restricted-syntax': [
        'error',
        { selector: `ImportExpression[source.value=${SELECTED}]`, message: WHY },
        { selector: `CallExpression[callee.name="require"][arguments.0.value=${SELECTED}]`, message: WHY },
      ],
    },
  },
  {
    name: 'tollgate/where-the-metered-client-is-made',
    files: ['**/model-client.{js,mjs,ts,mts}'],
    rules: { 'no-restricted-imports': 'off', 'no-restricted-syntax': 'off' },
  },
];
