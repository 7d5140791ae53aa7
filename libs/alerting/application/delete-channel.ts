import type { Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { Channel } from '../domain/channel.js';
import { channelEntry } from './audit-wire.js';
import type { ChannelStore, DeliveryStore } from './ports.js';

/** Removes a channel; what waits for it ends as failed, the log of its deliveries stays. */
export class DeleteChannel {
  constructor(
    private readonly database: Database,
    private readonly channels: ChannelStore,
    private readonly deliveries: DeliveryStore,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** The channel that was; null when there is none. */
  async execute(input: { readonly channelId: string; readonly context: ChangeContext }): Promise<Channel | null> {
    return await this.database.transaction(async (tx) => {
      const before = await this.channels.lock(tx, input.channelId);
      if (before === null) return null;
      const at = this.clock.now();
      await this.channels.remove(tx, input.channelId);
      await this.deliveries.failPending(tx, input.channelId, 'channel_deleted', at);
      await this.audit.append(tx, channelEntry({ action: 'alert_channel.deleted', at, before, after: null, by: input.context }));
      return before;
    });
  }
}
