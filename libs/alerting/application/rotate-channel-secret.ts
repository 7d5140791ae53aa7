import type { Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { rotateSecret, type Channel } from '../domain/channel.js';
import { makeSecret } from '../domain/webhook.js';
import { channelEntry } from './audit-wire.js';
import type { ChannelStore } from './ports.js';

export type ChannelRotation = { readonly ok: true; readonly channel: Channel } | { readonly ok: false; readonly reason: 'not_found' | 'two_valid' };

/** Gives a channel a new secret; messages are signed with both for a day, so that the receiver can switch without missing one. */
export class RotateChannelSecret {
  constructor(
    private readonly database: Database,
    private readonly channels: ChannelStore,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  async execute(input: { readonly channelId: string; readonly secret: string | null; readonly context: ChangeContext }): Promise<ChannelRotation> {
    return await this.database.transaction(async (tx): Promise<ChannelRotation> => {
      const before = await this.channels.lock(tx, input.channelId);
      if (before === null) return { ok: false, reason: 'not_found' };
      const at = this.clock.now();
      const channel = rotateSecret(before, input.secret ?? makeSecret(), at);
      if (channel === null) return { ok: false, reason: 'two_valid' };
      await this.channels.save(tx, channel);
      await this.audit.append(tx, channelEntry({ action: 'alert_channel.secret_rotated', at, before, after: channel, by: input.context }));
      return { ok: true, channel };
    });
  }
}
