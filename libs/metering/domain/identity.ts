/**
 * What makes one event of many deliveries and one call of several reports.
 * Key digest: (namespace, event id); the namespace is the source, plus the tenant of a tenant-bound key, so that one tenant's key can
 * never take another tenant's event ids. Hashes cover what the sender said, before defaults, so that our own settings never turn a
 * resend into a conflict.
 */
import { digest128Hex } from '#libs/kernel/index.js';
import { USAGE_POOLS, type Usage } from '#libs/pricing/index.js';
import type { SpendReport } from './spend-event.js';

export type CallKeyKind = 'call_id' | 'response' | 'hold';

/** Hex of 16 bytes that are unique per (source, bound tenant, event id). */
export function eventKeyDigest(input: { sourceId: string; boundTenantId: string | null; externalId: string }): string {
  return digest128Hex('event', input.sourceId, input.boundTenantId ?? '', input.externalId);
}

/** Hex of 16 bytes that are unique per (tenant, kind, value): a tenant's reports only ever meet that tenant's calls. */
export function callKeyDigest(input: { tenantId: string; kind: CallKeyKind; value: string }): string {
  return digest128Hex('call', input.tenantId, input.kind, input.value);
}

/** Identity, usage and cost as sent: equal hashes are the same statement. Latency, tags and metadata are no part of it. */
export function contentHash(report: SpendReport): string {
  return digest128Hex(
    JSON.stringify([
      report.tenantId,
      report.callId,
      report.provider,
      report.model,
      report.requestedModel,
      report.status,
      report.quality,
      report.userId,
      report.feature,
      report.environment,
    ]),
    figuresText(report),
  );
}

/** The money-relevant figures alone: what two reports of one call by different senders are compared on. */
export function figuresHash(report: SpendReport): string {
  return digest128Hex(report.usage === null ? `cost:${report.claimedCostNano ?? 'null'}` : usageText(report.usage));
}

function figuresText(report: SpendReport): string {
  return `${report.usage === null ? 'null' : usageText(report.usage)}|${report.claimedCostNano ?? 'null'}`;
}

function usageText(usage: Usage): string {
  if (usage.meters === undefined) return plainUsageText(usage);
  const meters = Object.entries(usage.meters ?? {})
    .filter(([, quantity]) => quantity !== 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([USAGE_POOLS.map((pool) => usage[pool] ?? 0), meters]);
}

// The same text as above, of the many that have no meters, in a third of the time.
function plainUsageText(usage: Usage): string {
  let pools = '';
  for (const pool of USAGE_POOLS) pools += `${pools === '' ? '' : ','}${usage[pool] ?? 0}`;
  return `[[${pools}],[]]`;
}
