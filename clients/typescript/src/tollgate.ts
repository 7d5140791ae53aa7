/**
 * The client. Guarantees: `authorize` answers within its deadline whatever Tollgate does, by the failure policy where there is no
 * decision; what may be repeated without harm is repeated, nothing else; what is reported in the background is either taken or logged.
 */
import { TollgateApiError, TollgateUnreachableError, type TollgateError } from './errors.js';
import { FailureLog, type Logger } from './log.js';
import { tenantOf, UNKNOWN_TENANT } from './tenant.js';
import { Transport } from './transport.js';
import { uniqueId } from './unique-id.js';
import type { AuthorizeRequest, Balance, Decision, ExtendRequest, Hold, RecordedEvents, SettledHold, SettleRequest, SpendEvent } from './wire.js';

export interface TollgateOptions {
  /** For instance http://127.0.0.1:8080 */
  readonly url: string;
  /** A service key with the scopes `authorize` and `ingest` (`read` for `balance`). */
  readonly key: string;
  /** How long a call waits for its decision, in milliseconds, repeats included; 250 by default. */
  readonly authorizeTimeoutMs?: number;
  /** How long everything else may take, in milliseconds; 10,000 by default. */
  readonly timeoutMs?: number;
  /** What becomes of a call without a decision: `open` (by default) lets it run, reported and booked; `closed` refuses it. */
  readonly onFailure?: FailurePolicy;
  /** Further attempts of what may be repeated; 2 by default. */
  readonly maxRetries?: number;
  readonly logger?: Logger;
  readonly fetch?: typeof fetch;
}

export type FailurePolicy = 'open' | 'closed';

/** A decision, or where there was none, what the failure policy says; `failure` is then why. */
export type Authorization = Decision & { readonly failure: TollgateError | null };

/** An authorization, and the hold that a decision which came too late has taken, or null once there is none. */
export interface Asked {
  readonly authorization: Authorization;
  readonly lateHold: Promise<string | null>;
}

const AUTHORIZE_TIMEOUT_MS = 250;
const TIMEOUT_MS = 10_000;
/** A decision that comes later than its deadline is waited for this long, so that its hold can be given back. */
const LATE_ANSWER_MS = 10_000;
const REPORT_DEADLINE_MS = 60_000;
const MAX_RETRIES = 2;
/** Nobody waits for a report, and nobody else will make it: with pauses that double up to five seconds these cover the deadline. */
const REPORT_RETRIES = 16;
const MAX_REPORTS_UNDER_WAY = 10_000;
const NOTHING_LATE = Promise.resolve(null);

export class Tollgate {
  readonly log: FailureLog;
  private readonly unchecked: FailureLog;
  private readonly transport: Transport;
  private readonly authorizeTimeoutMs: number;
  private readonly timeoutMs: number;
  private readonly onFailure: FailurePolicy;
  private readonly underWay = new Set<Promise<void>>();

  constructor(options: TollgateOptions) {
    const logger = options.logger ?? console;
    this.log = new FailureLog(logger);
    this.unchecked = new FailureLog(logger);
    this.authorizeTimeoutMs = options.authorizeTimeoutMs ?? AUTHORIZE_TIMEOUT_MS;
    this.timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.onFailure = options.onFailure ?? 'open';
    const { url, key, maxRetries = MAX_RETRIES, fetch: send = globalThis.fetch } = options;
    this.transport = new Transport({ url, key, maxRetries, fetch: send });
  }

  /**
   * Asks before a call. Repeated within its deadline only with a `call_id`, which makes a repeat harmless.
   * @throws TollgateApiError the request itself is wrong (400, 403, 409): no failure policy helps there
   * @throws TollgateTenantError an empty tenant outside production
   */
  async authorize(request: AuthorizeRequest, options: { timeoutMs?: number; onFailure?: FailurePolicy } = {}): Promise<Authorization> {
    return (await this.ask(request, options)).authorization;
  }

  /** As {@link authorize}; also says what a late answer held, for a caller that can give it back. */
  async ask(request: AuthorizeRequest, options: { timeoutMs?: number; onFailure?: FailurePolicy } = {}): Promise<Asked> {
    const { timeoutMs = this.authorizeTimeoutMs, onFailure = this.onFailure } = options;
    const named = tenantOf(request.tenant_id, this.log);
    const { tenant_id: _given, ...rest } = request;
    const answer = this.transport.send({
      method: 'POST',
      path: '/v1/authorize',
      // Without a tenant a key's own counts; `unknown` is what the server makes of nothing.
      body: named === UNKNOWN_TENANT ? rest : { ...rest, tenant_id: named },
      headers: { prefer: 'return=minimal' },
      idempotent: typeof request.call_id === 'string',
      deadlineMs: Math.max(timeoutMs, LATE_ANSWER_MS),
      retryWithinMs: timeoutMs,
    });
    try {
      const decision = await within(answer, timeoutMs);
      return { authorization: { ...(decision as Decision), failure: null }, lateHold: NOTHING_LATE };
    } catch (error) {
      if (!takesFailurePolicy(error)) throw error;
      const fate = onFailure === 'open' ? 'let through unchecked' : 'refused';
      this.unchecked.note((count) => `Tollgate gave no decision (${error.message}): ${count} call(s) ${fate}`);
      const lateHold = answer.then(holdIn, () => null);
      if (onFailure === 'closed') this.inBackground(lateHold.then(async (holdId) => await this.giveBack(holdId)));
      return { authorization: withoutDecision(request, onFailure, error), lateHold };
    }
  }

  /** Says what a call cost. @throws TollgateApiError hold.not_found, hold.released, hold.settled_otherwise */
  async settle(holdId: string, figures: SettleRequest, options: { idempotencyKey?: string } = {}): Promise<SettledHold> {
    // The key is what tells a repeat of one partial settle from the next one.
    const headers = { 'idempotency-key': options.idempotencyKey ?? uniqueId() };
    return (await this.post(`/v1/holds/${encodeURIComponent(holdId)}/settle`, figures, headers)) as SettledHold;
  }

  /** Gives a hold's money back: the call was not made, or cost nothing. @throws TollgateApiError hold.not_found, hold.already_ended */
  async release(holdId: string): Promise<Hold> {
    return (await this.post(`/v1/holds/${encodeURIComponent(holdId)}/release`, {})) as Hold;
  }

  /** More time, more output, or both. @throws TollgateApiError hold.not_found, hold.already_ended, hold.cannot_grow */
  async extend(holdId: string, change: ExtendRequest): Promise<Hold> {
    return (await this.post(`/v1/holds/${encodeURIComponent(holdId)}/extend`, change)) as Hold;
  }

  /** Reports spend: one event or at most 5,000. Answered after the commit, an outcome for each. */
  async events(events: SpendEvent | readonly SpendEvent[]): Promise<RecordedEvents> {
    return (await this.post('/v1/events', events)) as RecordedEvents;
  }

  /** What a tenant has, holds and owes. */
  async balance(tenantId: string): Promise<Balance> {
    const path = `/v1/tenants/${encodeURIComponent(tenantId)}/balance`;
    return (await this.transport.send({ method: 'GET', path, idempotent: true, deadlineMs: this.timeoutMs })) as Balance;
  }

  /**
   * Reports without making anybody wait; what is not taken is logged with its call id.
   * @param lateHold a hold that a late decision may still take for this call: the report waits for it, so that it closes it
   */
  report(event: SpendEvent, lateHold: Promise<string | null> = NOTHING_LATE): void {
    const taken = lateHold.then(async (holdId) => {
      const body = holdId === null ? event : { ...event, hold_id: holdId };
      const path = '/v1/events';
      const answer = await this.transport.send({ method: 'POST', path, body, idempotent: true, deadlineMs: REPORT_DEADLINE_MS, maxRetries: REPORT_RETRIES });
      const { rejected, conflicts, results } = answer as RecordedEvents;
      if (rejected + conflicts > 0) throw new TollgateUnreachableError(results[0]?.detail ?? results[0]?.outcome ?? 'refused');
    });
    this.inBackground(taken, `the report of call ${event.call_id ?? event.event_id}`);
  }

  /** Releases without making anybody wait. What is not released expires, and its tenant's `unresolved_policy` says what that costs. */
  releaseLater(holdId: string | Promise<string | null>): void {
    this.inBackground(Promise.resolve(holdId).then(async (found) => await this.giveBack(found)));
  }

  /** Resolves when everything said in the background has been taken or logged. For the end of a process or of a serverless request. */
  async flush(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay);
  }

  private async giveBack(holdId: string | null): Promise<void> {
    if (holdId !== null) await this.release(holdId);
  }

  private inBackground(work: Promise<void>, what = 'the release of a hold'): void {
    const logged = work.catch((error: unknown) => {
      this.log.note((count) => `Tollgate did not take ${what} (${String(error)}); ${count} failure(s) since the last such line`);
    });
    // Bounded: what does not fit is still sent, only flush() does not wait for it.
    if (this.underWay.size >= MAX_REPORTS_UNDER_WAY) return;
    const tracked = logged.finally(() => this.underWay.delete(tracked));
    this.underWay.add(tracked);
  }

  private async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<unknown> {
    return await this.transport.send({ method: 'POST', path, body, headers, idempotent: true, deadlineMs: this.timeoutMs });
  }
}

async function within<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TollgateUnreachableError(`no decision within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]).then(checkDecision);
  } finally {
    clearTimeout(timer);
  }
}

function checkDecision<T>(answer: T): T {
  const { decision } = answer as { decision?: unknown };
  if (decision !== 'allow' && decision !== 'downgrade' && decision !== 'block') throw new TollgateUnreachableError('an answer without a decision');
  return answer;
}

/** No decision because of Tollgate, its network or its key; a request that is wrong in itself stays the caller's error. */
function takesFailurePolicy(error: unknown): error is TollgateError {
  if (error instanceof TollgateUnreachableError) return true;
  return error instanceof TollgateApiError && (error.status >= 500 || error.status === 429 || error.status === 408 || error.status === 401);
}

function holdIn(answer: unknown): string | null {
  return (answer as Partial<Decision> | null)?.hold?.hold_id ?? null;
}

function withoutDecision(request: AuthorizeRequest, onFailure: FailurePolicy, failure: TollgateError): Authorization {
  return {
    decision: onFailure === 'open' ? 'allow' : 'block',
    model: request.model ?? null,
    route: null,
    max_output_tokens: request.max_output_tokens ?? null,
    reason: { code: 'store_unavailable', message: 'Tollgate gave no decision', scope: 'tenant', budget_id: null, retry_after_ms: null },
    hold: null,
    available_usd: null,
    estimate: null,
    shadow: false,
    would: null,
    degraded: true,
    replayed: false,
    failure,
  };
}
