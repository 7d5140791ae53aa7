import fc from 'fast-check';
import { byteLength, inputTokensOf } from '../src/input-size.js';
import { Tally, usageOf } from '../src/openai-usage.js';
import { changed, maxOutputTokensOf, routeOf } from '../src/openai-request.js';

describe('sizes', () => {
  it('bytes of text are those of its UTF-8', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => byteLength(text) === Buffer.byteLength(text)));
  });

  it('a request counts its text by bytes, a picture as a picture, and token ids one each', () => {
    expect(inputTokensOf({ messages: [{ role: 'user', content: 'x'.repeat(3_000) }], temperature: 1 })).toBe(1_005);
    const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(900_000)}` } };
    expect(inputTokensOf({ messages: [{ content: [picture] }] })).toBeLessThan(1_650);
    expect(inputTokensOf({ input: [[1, 2, 3], [4]] })).toBe(4);
  });

  it('the limit of a request is that of all its choices, and a cut is shared by them', () => {
    const body = { model: 'gpt-4o', n: 2, max_completion_tokens: 500 };
    expect(maxOutputTokensOf('chat', body)).toBe(1_000);
    expect(changed('chat', body, { model: 'gpt-4o-mini', maxOutputTokens: 300 })).toEqual({ model: 'gpt-4o-mini', n: 2, max_completion_tokens: 150 });
    expect(changed('chat', { model: 'm' }, { model: null, maxOutputTokens: 300 })).toEqual({ model: 'm' });
    expect(maxOutputTokensOf('responses', { max_output_tokens: 7 })).toBe(7);
    expect(maxOutputTokensOf('embeddings', {})).toBe(0);
  });

  it('routes that cost money without saying what are told from those that cost nothing', () => {
    const routes = ['/chat/completions', '/responses?beta=true', '/embeddings', '/images/generations', '/completions', '/moderations', '/responses/r1/cancel'];
    expect(routes.map(routeOf)).toEqual(['chat', 'responses', 'embeddings', 'unmetered', 'unmetered', 'free', 'free']);
  });
});

describe('usage', () => {
  it('pools are exclusive: cached and audio tokens leave the figures that include them', () => {
    const usage = {
      prompt_tokens: 1_200,
      completion_tokens: 400,
      prompt_tokens_details: { cached_tokens: 1_000, audio_tokens: 20 },
      completion_tokens_details: { reasoning_tokens: 300, audio_tokens: 50 },
    };
    expect(usageOf(usage)).toMatchObject({
      input_tokens: 180,
      cache_read_tokens: 1_000,
      audio_input_tokens: 20,
      output_tokens: 350,
      reasoning_tokens: 300,
      audio_output_tokens: 50,
    });
  });

  it('whatever a provider sends, the pools are never negative and sum up to what it sent', () => {
    const tokens = fc.nat(10_000);
    const sent = fc.record({ input: tokens, cached: tokens, output: tokens, audio: tokens, reasoning: tokens });
    fc.assert(
      fc.property(sent, ({ input, cached, output, audio, reasoning }) => {
        const pools = usageOf({
          input_tokens: input,
          output_tokens: output,
          input_tokens_details: { cached_tokens: cached },
          output_tokens_details: { audio_tokens: audio, reasoning_tokens: reasoning },
        });
        expect(Math.min(...Object.values(pools as Record<string, number>))).toBeGreaterThanOrEqual(0);
        expect(pools?.reasoning_tokens).toBeLessThanOrEqual(pools?.output_tokens ?? 0);
        expect((pools?.input_tokens ?? 0) + cached).toBe(Math.max(input, cached));
      }),
    );
  });

  it('absent figures are not zero, and figures on every piece of a stream are not added up', () => {
    expect(usageOf(undefined)).toBeNull();
    expect(usageOf({})).toBeNull();
    const tally = new Tally();
    for (const completion of [1, 5, 9])
      tally.addPiece({ choices: [{ delta: { content: 'word' } }], usage: { prompt_tokens: 10, completion_tokens: completion } });
    expect(tally.usage).toMatchObject({ input_tokens: 10, output_tokens: 9 });
  });

  it('a stream is counted by what the model wrote, tool calls and reasoning included', () => {
    const tally = new Tally();
    tally.addPiece({ choices: [{ delta: { role: 'assistant', content: 'abc' } }] });
    tally.addPiece({ choices: [{ delta: { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'get', arguments: '{"a":1}' } }] } }] });
    tally.addPiece({ type: 'response.output_text.delta', delta: 'defg' });
    tally.addPiece({ type: 'response.output_text.done', text: 'defg' });
    // abc + get + {"a":1} + defg = 17 bytes
    expect(tally.outputTokens).toBe(6);
    expect(tally.complete).toBe(false);
  });
});
