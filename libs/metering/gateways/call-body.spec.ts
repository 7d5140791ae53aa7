import fc from 'fast-check';
import type { JsonObject } from '#libs/kernel/index.js';
import { changedCall, readCallBody, sizeOfCall } from './call-body.js';

const read = (text: string): ReturnType<typeof readCallBody> => readCallBody(Buffer.from(text, 'utf8'));
const NOTHING = { model: null, inputTokens: null, maxOutputTokens: null };

describe('the size of a call from its body', () => {
  it.each([
    ['chat', { model: 'gpt-4o', max_completion_tokens: 7, max_tokens: 5, messages: [{ role: 'user', content: 'abc' }] }, 7, 'role'.length + 4 + 7 + 3],
    ['responses', { model: 'gpt-4o', max_output_tokens: 9, input: 'abcdef', instructions: 'abc' }, 9, 9],
    ['messages', { model: 'claude-opus-4-6', max_tokens: 11, system: 'abc', messages: [] }, 11, 3],
    ['embeddings of token ids', { model: 'text-embedding-3-small', input: [1, 2, 3] }, null, 9],
    ['many answers', { model: 'gpt-4o', max_tokens: 10, n: 3, prompt: 'abc' }, 30, 3],
  ])('%s', (_what, body, maxOutputTokens, bytes) => {
    expect(read(JSON.stringify(body))).toEqual({ model: body.model, maxOutputTokens, inputTokens: Math.ceil(bytes / 3) });
  });

  it('counts a picture as the most a provider counts, not as its base64', () => {
    const picture = `data:image/png;base64,${'A'.repeat(1_000_000)}`;
    const { inputTokens } = sizeOfCall({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: picture } }] }] });
    expect(inputTokens).toBeGreaterThanOrEqual(1_600);
    expect(inputTokens).toBeLessThan(1_700);
  });

  it.each(['', 'no json', '[]', '"text"', '1', 'null', '{', '{"', '{"model', '{"model":', '{"model":"gpt', '{]', '\u0000', '[{"model":"gpt-4o"}'])(
    'says nothing of %j',
    (text) => {
      expect({ ...read(text), inputTokens: null }).toEqual(NOTHING);
    },
  );

  it.each([
    { model: 7 },
    { model: ' x ' },
    { model: 'm'.repeat(200) },
    { max_tokens: -1 },
    { max_tokens: 1.5 },
    { max_tokens: '100' },
    { n: 0, max_tokens: null },
  ])('what is no model and no limit is not said: %j', (body) => {
    expect(sizeOfCall(body as JsonObject)).toEqual(NOTHING);
  });

  it('reads a model after a prompt of megabytes, of a body that was cut', () => {
    const text = JSON.stringify({ messages: [{ role: 'user', content: 'x"\\'.repeat(1_000_000) }], model: 'gpt-4o', max_tokens: 5, tools: [{ a: 'x' }] });
    expect(read(text.slice(0, -6))).toMatchObject({ model: 'gpt-4o', maxOutputTokens: 5 });
  });

  it('wherever a body is cut, what was said before the cut is read and nothing else is made up', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.constant(true), fc.jsonValue({ maxDepth: 3 }));
    const entries = fc.uniqueArray(fc.tuple(fc.string(), value), { selector: ([name]) => name, maxLength: 4 });
    fc.assert(
      fc.property(entries, entries, fc.string({ minLength: 1, maxLength: 20 }), fc.nat(), (before, after, name, at) => {
        const model = `m-${name.replaceAll(/[^a-z]/g, '')}`;
        const taken = (list: [string, unknown][]): [string, unknown][] =>
          list.filter(([key]) => !['model', 'max_tokens', 'n', 'best_of', '__proto__', 'max_completion_tokens', 'max_output_tokens'].includes(key));
        const text = `{${[...taken(before), ['model', model], ...taken(after)].map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`).join(' , ')}}`;
        const cut = text.slice(0, at % (text.length + 1));
        const said = `"model":${JSON.stringify(model)}`;
        // The oracle: the pair itself stands whole before the cut, at the place where it was put.
        const lead = taken(before)
          .map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)} , `)
          .join('');
        const isThere = cut.startsWith(`{${lead}${said}`);
        expect(read(cut).model).toBe(isThere ? model : null);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a call changed to what was allowed', () => {
  it('swaps the model, shortens what asks for more, and leaves everything else', () => {
    const body = { model: 'gpt-4o', max_tokens: 100, max_completion_tokens: 5, n: 2, messages: ['x'], stream: true };
    expect(changedCall(body, { model: 'gpt-4o-mini', maxOutputTokens: 50 })).toEqual({ ...body, model: 'gpt-4o-mini', max_tokens: 25 });
    expect(changedCall(body, { model: null, maxOutputTokens: null })).toEqual(body);
  });

  it('never adds a limit that was not there', () => {
    expect(changedCall({ model: 'gpt-4o' }, { model: null, maxOutputTokens: 10 })).toEqual({ model: 'gpt-4o' });
  });
});
