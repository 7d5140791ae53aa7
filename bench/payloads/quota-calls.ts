/** A tenant as a quota store is told of it, and the same call to it again and again: wallet and four limits that never refuse. */
import { digest128Hex } from '#libs/kernel/index.js';
import type { QuotaStore, reserveCall } from '#libs/quota/index.js';

type ReserveCommand = Parameters<typeof reserveCall>[0];
type Claim = ReserveCommand['candidates'][0]['claims'][number];

export const COST_NANO = 11_000_000n;
export const TOKENS = 2_000n;
const CREDIT_NANO = 1_000_000_000_000_000n;
const TTL_MS = 900_000;
const HOUR_MS = 3_600_000;

export function claimsOf(now: number): Claim[] {
  const endsAtMs = (Math.floor(now / HOUR_MS) + 1) * HOUR_MS;
  const claim = (counter: string, metric: Claim['metric'], window: Claim['window'], amount: bigint): Claim => ({
    budgetId: counter,
    kind: 'budget',
    counter: `${counter} ${endsAtMs}`,
    metric,
    window,
    rate: false,
    limit: CREDIT_NANO,
    amount,
    downgradeAt: null,
    blockAt: CREDIT_NANO,
    enforced: true,
    silent: false,
  });
  return [
    claim('user month', 'usd', { kind: 'fixed', endsAtMs }, COST_NANO),
    claim('feature day', 'tokens', { kind: 'fixed', endsAtMs }, TOKENS),
    claim('tenant minute', 'requests', { kind: 'rolling', bucketMs: 1_000 }, 1n),
    claim('running', 'concurrent', { kind: 'concurrent', ttlMs: 120_000 }, 1n),
  ];
}

export function commandOf(tenantId: string, holdId: string, claims: readonly Claim[], nowMs: number): ReserveCommand {
  const callId = holdId;
  const facts = {
    callId,
    provider: 'openai',
    model: 'gpt-4o',
    requestedModel: 'gpt-4o',
    inputTokens: 1_200,
    maxOutputTokens: 800,
    userId: 'u_1',
    feature: 'document_summarize',
    environment: 'prod',
    assistantId: null,
    threadId: null,
    apiKeyId: null,
    requestId: null,
    priceVersion: null,
    tags: null,
    sourceId: null,
    terms: [],
  };
  const digest = digest128Hex('bench', tenantId, callId);
  return {
    tenantId,
    holdId,
    candidates: [{ amountNano: COST_NANO, claims, facts }],
    rulesRevision: 0,
    nowMs,
    ttlMs: TTL_MS,
    callDigest: digest,
    bodyHash: digest,
    policy: 'charge_input',
    rule: { creditLimitNano: 0n },
    enforce: true,
    strict: false,
  };
}

export function snapshotOf(tenantId: string): Parameters<QuotaStore['load']>[0][number] {
  const none = { holds: [], recentCalls: [], counters: [], fencedUntilMs: 0 };
  return { tenantId, seq: 0n, postedNano: CREDIT_NANO, promisedNano: 0n, ceilingNano: 4n * CREDIT_NANO, bookedSeq: 0n, rulesRevision: 0, ...none };
}
