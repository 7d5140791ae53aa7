/** What a posting transaction tells the quota store, as JSON in the outbox. Numbers that may be large travel as text. */
import type { CounterDelta } from '../domain/limit.js';
import type { BookedBatch, Capture } from './quota-store.js';

export const BOOKED_TOPIC = 'quota.booked';

/** One booked event's effect on a hold. */
export interface CapturePayload {
  readonly hold_id: string | null;
  readonly call_digest: string | null;
  readonly signed_nano: string;
  readonly signed_tokens: string;
  readonly signed_requests: number;
  readonly closes: boolean;
  readonly provisional: boolean;
}

/** `b`: sub-bucket in milliseconds, of a rolling counter; else `e`: its end. */
export interface CounterPayload {
  readonly c: string;
  readonly at: number;
  readonly n: string;
  readonly b?: number;
  readonly e?: number | null;
}

export interface BookedPayload {
  readonly seq: string;
  readonly captures: readonly CapturePayload[];
  readonly counters: readonly CounterPayload[];
}

export function toCounterPayload({ counter, window, atMs, amount }: CounterDelta): CounterPayload {
  const base = { c: counter, at: atMs, n: String(amount) };
  return window.kind === 'rolling' ? { ...base, b: window.bucketMs } : { ...base, e: window.endsAtMs };
}

export function toBookedBatch(tenantId: string, payload: BookedPayload): BookedBatch {
  return {
    tenantId,
    seq: BigInt(payload.seq),
    captures: payload.captures.map((capture): Capture => ({
      holdId: capture.hold_id,
      callDigest: capture.call_digest,
      signedNano: BigInt(capture.signed_nano),
      signedTokens: BigInt(capture.signed_tokens),
      signedRequests: BigInt(capture.signed_requests),
      closes: capture.closes,
      provisional: capture.provisional,
    })),
    counters: payload.counters.map(({ c, at, n, b, e }): CounterDelta => ({
      counter: c,
      window: b === undefined ? { kind: 'fixed', endsAtMs: e ?? null } : { kind: 'rolling', bucketMs: b },
      atMs: at,
      amount: BigInt(n),
    })),
  };
}
