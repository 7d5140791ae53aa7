import { createHash } from 'node:crypto';
import type { Json } from '#libs/kernel/index.js';
import type { AuditEntry, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Channel } from '../domain/channel.js';

/** The entry of a change of a channel. */
export function channelEntry(input: {
  readonly action: string;
  readonly at: Date;
  readonly before: Channel | null;
  readonly after: Channel | null;
  readonly by: ChangeContext;
  readonly reason?: string | null;
}): AuditEntry {
  const { before, after } = input;
  return {
    at: input.at,
    actor: input.by.actor,
    action: input.action,
    entity: 'alert_channel',
    entityId: (after ?? before)?.channelId ?? '',
    // A channel is the operator's, also one that hears of one tenant only: its tenant's own keys do not read about it.
    tenantId: null,
    before: before === null ? null : describeChannel(before),
    after: after === null ? null : describeChannel(after),
    reason: input.reason ?? null,
    requestId: input.by.requestId,
  };
}

/** A channel as the audit trail keeps it: no secret, and of the URL, which may carry one in its path, where it leads and whether it changed. */
function describeChannel(channel: Channel): Json {
  return {
    kind: channel.kind,
    url_origin: new URL(channel.url).origin,
    url_digest: createHash('sha256').update(channel.url).digest('hex').slice(0, 16),
    kinds: channel.kinds === null ? null : [...channel.kinds],
    tenant_id: channel.tenantId,
    min_severity: channel.minSeverity,
    enabled: channel.enabled,
    disabled_reason: channel.disabledReason,
    previous_secret_until: channel.previous?.until.toISOString() ?? null,
  };
}
