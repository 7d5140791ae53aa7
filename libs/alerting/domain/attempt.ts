/**
 * What one attempt at a delivery means. Anything but 2xx in time is tried again, with pauses that grow threefold and are drawn evenly from
 * zero to their bound (full jitter): endpoints that came back are not met by everybody's second attempt at once. Ten attempts spread
 * over about a day; an endpoint that says 410 does not want to be asked again.
 */
import { HOUR_MS, SECOND_MS } from '#libs/kernel/index.js';
import type { OutgoingOutcome } from '#libs/platform/http/outgoing.js';

export const MAX_ATTEMPTS = 10;
export const MAX_EXCERPT_CHARS = 256;
const FIRST_PAUSE_MS = 20 * SECOND_MS;
const MAX_PAUSE_MS = 24 * HOUR_MS;
const MIN_PAUSE_MS = SECOND_MS;

export interface AttemptResult {
  readonly verdict: { readonly kind: 'delivered' | 'failed' | 'gone' } | { readonly kind: 'retry'; readonly at: Date };
  readonly status: number | null;
  /** Why it was no delivery, in a word. */
  readonly error: string | null;
  readonly excerpt: string | null;
}

/** @param attempt 1 for the first. @param chance from 0 to below 1, drawn for this attempt */
export function judgeAttempt(outcome: OutgoingOutcome, attempt: number, now: Date, chance: number): AttemptResult {
  const answered = outcome.kind === 'answered' ? outcome : null;
  const status = answered?.status ?? null;
  const excerpt = answered === null || answered.body === '' ? null : printable(answered.body);
  if (status !== null && status >= 200 && status < 300) return { verdict: { kind: 'delivered' }, status, error: null, excerpt };
  const error = outcome.kind === 'answered' ? `http_${outcome.status}` : outcome.reason;
  if (status === 410) return { verdict: { kind: 'gone' }, status, error, excerpt };
  if (attempt >= MAX_ATTEMPTS) return { verdict: { kind: 'failed' }, status, error, excerpt };
  const asked = answered === null ? 0 : retryAfterMs(answered.retryAfter, now);
  const pauseMs = Math.max(pauseAfter(attempt, chance), asked);
  return { verdict: { kind: 'retry', at: new Date(now.getTime() + pauseMs) }, status, error, excerpt };
}

/** Milliseconds until the next attempt. */
export function pauseAfter(attempt: number, chance: number): number {
  const bound = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 3 ** (attempt - 1));
  return Math.max(MIN_PAUSE_MS, Math.floor(bound * chance));
}

/** Retry-After in seconds or as a date; 0 where there is none, at most a day. */
export function retryAfterMs(header: string | null, now: Date): number {
  if (header === null) return 0;
  const asked = /^\d{1,9}$/.test(header) ? Number(header) * SECOND_MS : new Date(header).getTime() - now.getTime();
  return Number.isFinite(asked) ? Math.min(MAX_PAUSE_MS, Math.max(0, asked)) : 0;
}

/** An endpoint's own words, for a person to read in a list. */
function printable(text: string): string {
  return text.replaceAll(/[\p{C}]/gu, ' ').slice(0, MAX_EXCERPT_CHARS);
}
