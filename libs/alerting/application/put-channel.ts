import { DomainError, type Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { OutgoingHttp } from '#libs/platform/http/outgoing.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import { sameSettings, type Channel, type ChannelSettings } from '../domain/channel.js';
import { makeSecret } from '../domain/webhook.js';
import { channelEntry } from './audit-wire.js';
import type { ChannelStore } from './ports.js';

/** Why a URL is not taken, as its sender reads it. */
const URL_RULES = {
  url_invalid: 'must be an http or https URL without credentials and fragment',
  url_not_https: 'must be https unless TOLLGATE_OUTGOING_ALLOW names its host or network',
  port_not_allowed: 'must use port 443 or 80 unless TOLLGATE_OUTGOING_ALLOW names its host or network',
  address_not_allowed: 'must be a public address unless TOLLGATE_OUTGOING_ALLOW names its network',
  name_not_resolved: 'must have a name that can be resolved',
} as const;

/**
 * Creates a channel or replaces its settings, audited in the same transaction. The secret stays unless one is given, which then is the only
 * valid one at once; rotating is RotateChannelSecret's. The same state again writes nothing.
 */
export class PutChannel {
  constructor(
    private readonly database: Database,
    private readonly channels: ChannelStore,
    private readonly outgoing: OutgoingHttp,
    private readonly tenants: TenantDirectory,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError alert_channel.invalid (a URL that may never be called, no such tenant) */
  async execute(input: {
    readonly channelId: string;
    readonly settings: ChannelSettings;
    /** Null: made here for a new channel, kept for an existing one. */
    readonly secret: string | null;
    readonly context: ChangeContext;
  }): Promise<{ readonly channel: Channel; readonly created: boolean }> {
    const { channelId, settings } = input;
    const refusal = this.outgoing.checkUrl(settings.url);
    if (refusal !== null) throw invalidChannel('url', URL_RULES[refusal]);
    if (settings.tenantId !== null && (await this.tenants.find(settings.tenantId)) === null) throw invalidChannel('tenant_id', 'there is no such tenant');
    return await this.database.transaction(async (tx) => {
      const before = await this.channels.lock(tx, channelId);
      const secretKept = before !== null && (input.secret === null || (input.secret === before.secret && before.previous === null));
      if (before !== null && secretKept && sameSettings(before, settings)) return { channel: before, created: false };
      const at = this.clock.now();
      const secrets = secretKept ? { secret: before.secret, previous: before.previous } : { secret: input.secret ?? makeSecret(), previous: null };
      const disabledReason = settings.enabled ? null : (before?.disabledReason ?? null);
      const channel: Channel = { channelId, ...settings, ...secrets, disabledReason, createdAt: before?.createdAt ?? at, updatedAt: at };
      await this.channels.save(tx, channel);
      const action = before === null ? 'alert_channel.created' : 'alert_channel.updated';
      const reason = before !== null && !secretKept ? 'the secret was replaced' : null;
      await this.audit.append(tx, channelEntry({ action, at, before, after: channel, by: input.context, reason }));
      return { channel, created: before === null };
    });
  }
}

function invalidChannel(path: string, message: string): DomainError {
  return new DomainError({ code: 'alert_channel.invalid', kind: 'invalid', publicMessage: 'the channel was not changed', errors: [{ path, message }] });
}
