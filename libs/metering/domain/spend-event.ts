/**
 * What one report of one model call says, in our words, before tenants, defaults and prices are looked up.
 * Every door (our own API, each gateway) ends in a SpendReport, so that nothing behind it knows which gateway spoke.
 * `null` means "the sender did not say"; it never means zero. A report holds no prompt, no answer and no call parameter.
 */
import type { Json, Nano } from '#libs/kernel/index.js';
import type { Usage } from '#libs/pricing/index.js';

/** How the usage figures came about; a better one replaces a worse one of the same call. */
export type UsageQuality = 'exact' | 'drained' | 'lookup' | 'partial' | 'tokenizer' | 'estimated' | 'hold' | 'unknown';

/** Stored as a small integer; the higher number is the better figure. */
export const QUALITY_RANK: Record<UsageQuality, number> = {
  exact: 7,
  drained: 6,
  lookup: 5,
  partial: 4,
  tokenizer: 3,
  estimated: 2,
  hold: 1,
  unknown: 0,
};

export type SpendStatus = 'success' | 'error' | 'cancelled' | 'blocked';

/** The fields a source may say where to find, and in which order. */
export const ATTRIBUTION_FIELDS = [
  'tenant_id',
  'user_id',
  'feature',
  'environment',
  'assistant_id',
  'thread_id',
  'api_key_id',
  'request_id',
  'hold_id',
] as const;
export type AttributionField = (typeof ATTRIBUTION_FIELDS)[number];

/**
 * Where a source finds each field: dotted paths into the gateway's payload, the first that answers wins.
 * A field that is absent has the gateway's default paths. See the gateway's own file for the path syntax.
 */
export type Attribution = { readonly [field in AttributionField]?: readonly string[] };

export interface SpendReport {
  /** Unique per source; survives the gateway's own retries. */
  readonly externalId: string;
  readonly occurredAt: Date | null;
  readonly tenantId: string | null;
  readonly callId: string | null;
  readonly holdId: string | null;
  readonly providerResponseId: string | null;
  readonly userId: string | null;
  readonly feature: string | null;
  readonly environment: string | null;
  readonly assistantId: string | null;
  readonly threadId: string | null;
  readonly apiKeyId: string | null;
  readonly requestId: string | null;
  readonly tags: Record<string, string> | null;
  readonly provider: string | null;
  /** The model that ran, without the provider's prefix. */
  readonly model: string | null;
  /** The model that was asked for. */
  readonly requestedModel: string | null;
  readonly usage: Usage | null;
  readonly quality: UsageQuality;
  /** What the sender says the provider charges. */
  readonly claimedCostNano: Nano | null;
  readonly latencyMs: number | null;
  readonly ttftMs: number | null;
  readonly stream: boolean | null;
  readonly status: SpendStatus;
  readonly error: string | null;
  readonly metadata: Record<string, string | number | boolean> | null;
  /**
   * Whether this report may be merged with other reports of the same call. False for cache hits, blocked and failed attempts:
   * clients may choose the call id, and a report that reached no provider must not take the place of one that did.
   */
  readonly claimsCall: boolean;
}

/** A report, or why the item is none: `path` names the field, `message` the rule, without the sender's own values. */
export type ReadOutcome =
  | { readonly ok: true; readonly report: SpendReport }
  | { readonly ok: false; readonly code: string; readonly path: string; readonly message: string; readonly externalId: string | null };

/** The items of one request body, or why the body as a whole cannot be read. */
export type SplitOutcome = { readonly ok: true; readonly items: readonly Json[] } | { readonly ok: false; readonly code: string; readonly message: string };
