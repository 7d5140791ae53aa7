import fc from 'fast-check';
import { MAX_JSON_DEPTH, readJsonBytes, readJsonText } from './json-body.js';

describe('reading JSON nobody vouches for', () => {
  it('reads what JSON.parse reads, for any value of bounded depth', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.boolean(), (value, pretty) => {
        const text = JSON.stringify(value, null, pretty ? 2 : 0);
        const reading = readJsonText(text);
        // The generator may make the very keys that are refused.
        fc.pre(!text.includes('__proto__') && !text.includes('constructor'));
        expect(reading).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });

  it('counts depth exactly, whatever the strings hold', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 130 }), fc.string({ unit: fc.constantFrom('[', ']', '{', '}', '"', '\\', 'x') }), (depth, inner) => {
        const text = `${'['.repeat(depth)}${JSON.stringify(inner)}${']'.repeat(depth)}`;
        expect(readJsonText(text).ok).toBe(depth <= MAX_JSON_DEPTH);
      }),
    );
  });

  it.each([
    ['{"__proto__":1}', 'forbidden_key'],
    ['[{"a":[{"\\u005f\\u005fproto__":1}]}]', 'forbidden_key'],
    ['{"constructor":{"prototype":1}}', 'forbidden_key'],
    ['{"\\u0063onstructor":{"prototype":1}}', 'forbidden_key'],
    ['NaN', 'not_json'],
    ['"open', 'not_json'],
    ['', 'not_json'],
  ])('refuses %s', (text, problem) => {
    expect(readJsonText(text)).toEqual({ ok: false, problem });
  });

  it('takes the words of the refused keys where they are no keys', () => {
    expect(readJsonText('{"constructor":"Ferrari","text":"__proto__"}').ok).toBe(true);
  });

  it('refuses bytes that are no UTF-8', () => {
    expect(readJsonBytes(Buffer.from([0x22, 0xc3, 0x28, 0x22]))).toEqual({ ok: false, problem: 'not_utf8' });
  });
});
