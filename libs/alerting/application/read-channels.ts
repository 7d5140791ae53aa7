import type { Database } from '#libs/platform/postgres/database.js';
import type { Channel } from '../domain/channel.js';
import type { ChannelStore } from './ports.js';

/** Channels with their settings; whoever shows them leaves the secrets out. */
export class ReadChannels {
  constructor(
    private readonly database: Database,
    private readonly channels: ChannelStore,
  ) {}

  /** Ordered by id, one more than `limit` where there are more; with `channelId` that one or none. */
  async execute(input: { readonly channelId?: string; readonly after?: string | undefined; readonly limit: number }): Promise<Channel[]> {
    if (input.channelId === undefined) return await this.channels.list(this.database, { after: input.after, limit: input.limit + 1 });
    const channel = await this.channels.find(this.database, input.channelId);
    return channel === null ? [] : [channel];
  }
}
