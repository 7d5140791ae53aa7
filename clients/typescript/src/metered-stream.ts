/**
 * A stream of the official client that is counted as it is read. Guarantees: the same class with the same methods; what ended it is
 * reported once, be it its end, an early `break`, an abort or a broken connection; the piece with the figures that we asked for is not shown.
 */
import type { MeteredCall } from './metered-call.js';
import { isUsagePiece, Tally } from './openai-usage.js';

/** As `Stream` of the openai package, which is not imported: it is the caller's. */
export interface StreamOf<Item> extends AsyncIterable<Item> {
  readonly controller: AbortController;
}
type StreamClass = new (iterator: () => AsyncIterator<unknown>, controller: AbortController) => StreamOf<unknown>;

/** A stream in place of `stream`, which must not be read any more. */
export function meteredStream(call: MeteredCall, stream: StreamOf<unknown>): StreamOf<unknown> {
  const tally = new Tally();
  // A loop that is left aborts as well. An abort ends a stream of this SDK without an error, and one that nobody reads without a trace.
  stream.controller.signal.addEventListener('abort', () => call.breakOff(tally, { name: 'AbortError' }), { once: true });
  async function* counted(): AsyncGenerator<unknown, void, unknown> {
    try {
      for await (const piece of stream) {
        tally.addPiece(piece);
        call.noteOutput();
        if (!(call.hidesUsage && isUsagePiece(piece))) yield piece;
      }
      call.succeed(tally);
    } catch (error) {
      call.breakOff(tally, error);
      throw error;
    }
  }
  const { constructor } = stream as unknown as { constructor: StreamClass };
  return new constructor(counted, stream.controller);
}
