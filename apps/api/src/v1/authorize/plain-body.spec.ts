import fc from 'fast-check';
import { authorizeBody } from './authorize.schemas.js';
import { readPlainBody } from './plain-body.js';

const NAMES = Object.keys(authorizeBody.shape);

const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('acme', 'gpt-4o', 'u_1', 'prod', 'normal', 'critical', '0.01', 'Zürich') },
  { weight: 3, arbitrary: fc.integer({ min: -1, max: 1_000_000_001 }) },
  { weight: 2, arbitrary: fc.constant(null) },
  fc.constantFrom('', ' lead', 'a\u0000b', 'x'.repeat(129), 1.5, -0, Number.MAX_SAFE_INTEGER, true, [], {}, { a: 'b' }, 'urgent'),
);
const body = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.dictionary(fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...NAMES) }, fc.constantFrom('api_key', 'temperature')), value, { maxKeys: 8 }),
  },
  fc.constantFrom<unknown>(null, undefined, 'text', 1, [], [{}]),
);

describe('the quick way through an authorize body', () => {
  it('accepts nothing that the schema refuses, and reads it to the same', () => {
    fc.assert(
      fc.property(body, (sent) => {
        const plain = readPlainBody(sent);
        if (plain === null) return;
        const read = authorizeBody.safeParse(sent);
        expect({ ...plain }).toEqual(read.data);
      }),
      { numRuns: 5_000 },
    );
  });

  it('takes what gateways send', () => {
    const sent = {
      call_id: 'c1',
      tenant_id: 'acme',
      user_id: null,
      feature: 'chat',
      model: 'gpt-4o',
      input_tokens: 1_200,
      max_output_tokens: 800,
      priority: 'normal',
      tags: null,
    };
    expect(readPlainBody(sent)).toEqual(sent);
  });
});
