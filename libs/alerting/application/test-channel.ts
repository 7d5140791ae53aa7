import { newUuid, toWireId, type Clock } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { judgeAttempt } from '../domain/attempt.js';
import type { ChannelStore } from './ports.js';
import type { SendWebhook } from './send-webhook.js';

export interface ChannelTest {
  readonly delivered: boolean;
  readonly status: number | null;
  readonly error: string | null;
  readonly responseExcerpt: string | null;
}

/** Sends one message of type `channel.test` at once, also to a channel that is switched off, and tells how it went. Nothing is kept or repeated. */
export class TestChannel {
  constructor(
    private readonly database: Database,
    private readonly channels: ChannelStore,
    private readonly sendWebhook: SendWebhook,
    private readonly clock: Clock,
  ) {}

  /** Null when there is no such channel. Takes up to ten seconds. */
  async execute(input: { readonly channelId: string }): Promise<ChannelTest | null> {
    const channel = await this.channels.find(this.database, input.channelId);
    if (channel === null) return null;
    const now = this.clock.now();
    const id = toWireId('alrt', newUuid(now));
    const body = JSON.stringify({ type: 'channel.test', timestamp: now.toISOString(), data: { channel_id: channel.channelId } });
    const outcome = await this.sendWebhook.execute({ channel, message: { id, body } });
    const { verdict, status, error, excerpt } = judgeAttempt(outcome, 1, now, 0);
    return { delivered: verdict.kind === 'delivered', status, error, responseExcerpt: excerpt };
  }
}
