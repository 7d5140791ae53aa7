/**
 * One exchange with Tollgate: JSON out and in, a deadline over all of its attempts, problem documents as errors. An attempt is repeated
 * only when the caller says that a repeat changes nothing, and only where waiting may help.
 */
import { TollgateApiError, TollgateUnreachableError, type FieldError } from './errors.js';

export interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** A second delivery changes nothing. */
  readonly idempotent: boolean;
  /** Over all attempts, in milliseconds. */
  readonly deadlineMs: number;
  /** After this many milliseconds no further attempt is begun; by default the deadline. */
  readonly retryWithinMs?: number;
  /** Further attempts, where not as many as usual. */
  readonly maxRetries?: number;
}

export interface TransportOptions {
  readonly url: string;
  readonly key: string;
  readonly maxRetries: number;
  readonly fetch: typeof fetch;
}

const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 5_000;
/** The server is up and asks to come back, or something in front of it says so. */
const WORTH_REPEATING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

export class Transport {
  private readonly base: string;

  constructor(private readonly options: TransportOptions) {
    this.base = options.url.replace(/\/+$/, '');
  }

  /** @throws TollgateApiError the server's problem @throws TollgateUnreachableError no usable answer within the deadline */
  async send(exchange: Exchange): Promise<unknown> {
    const begun = performance.now();
    const patience = Math.min(exchange.retryWithinMs ?? exchange.deadlineMs, exchange.deadlineMs);
    const deadline = AbortSignal.timeout(exchange.deadlineMs);
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.attempt(exchange, deadline);
      } catch (error) {
        const pause = pauseBefore(error, attempt);
        const left = patience - (performance.now() - begun);
        if (!exchange.idempotent || attempt >= (exchange.maxRetries ?? this.options.maxRetries) || pause === null || pause >= left) throw error;
        await new Promise<void>((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  private async attempt(exchange: Exchange, signal: AbortSignal): Promise<unknown> {
    const { body, headers } = exchange;
    // Called as a plain function: a browser's fetch refuses to be a method of something else.
    const { fetch: send } = this.options;
    try {
      const response = await send(this.base + exchange.path, {
        method: exchange.method,
        headers: { authorization: `Bearer ${this.options.key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal,
      });
      const answer: unknown = await response.json().catch(() => undefined);
      if (!response.ok) throw problemOf(response, answer);
      if (typeof answer !== 'object' || answer === null) throw new TollgateUnreachableError(`${exchange.path} answered ${response.status} without JSON`);
      return answer;
    } catch (error) {
      if (error instanceof TollgateApiError || error instanceof TollgateUnreachableError) throw error;
      const why = signal.aborted ? `no answer within ${exchange.deadlineMs} ms` : String(error instanceof Error ? error.message : error);
      throw new TollgateUnreachableError(`${exchange.path}: ${why}`, { cause: error });
    }
  }
}

/** How long to wait before the next attempt, in milliseconds, or null where a further one would end the same way. */
function pauseBefore(error: unknown, attempt: number): number | null {
  if (error instanceof TollgateApiError && !WORTH_REPEATING.has(error.status)) return null;
  const asked = error instanceof TollgateApiError ? error.retryAfterMs : null;
  // Half of it by chance: clients that failed together must not come back together.
  const ownPause = FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2);
  return Math.min(Math.max(asked ?? 0, ownPause), LONGEST_PAUSE_MS);
}

function problemOf(response: Response, answer: unknown): TollgateApiError {
  const problem = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>;
  const text = (name: string): string | null => (typeof problem[name] === 'string' ? problem[name] : null);
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  return new TollgateApiError({
    status: response.status,
    code: text('code') ?? `http.${response.status}`,
    detail: text('detail') ?? response.statusText,
    errors: Array.isArray(problem['errors']) ? (problem['errors'] as FieldError[]) : [],
    requestId: text('request_id') ?? response.headers.get('x-request-id'),
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1_000 : null,
  });
}
