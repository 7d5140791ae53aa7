import { SECOND_MS, type Clock } from '#libs/kernel/index.js';
import type { OutgoingHttp, OutgoingOutcome } from '#libs/platform/http/outgoing.js';
import { secretsAt, type Channel } from '../domain/channel.js';
import { signedHeaders, type WebhookMessage } from '../domain/webhook.js';

/** Long enough for an endpoint that works before it answers, short enough that a dead one does not hold its lane. */
export const SEND_DEADLINE_MS = 10 * SECOND_MS;
/** What is read of an answer: enough bytes for the characters that are kept of it. */
const MAX_RESPONSE_BYTES = 1_024;

/** One attempt to bring a message to a channel, signed with every secret that is valid now. */
export class SendWebhook {
  constructor(
    private readonly outgoing: OutgoingHttp,
    private readonly clock: Clock,
  ) {}

  /** Never throws. */
  async execute(input: { readonly channel: Channel; readonly message: WebhookMessage }): Promise<OutgoingOutcome> {
    const { channel, message } = input;
    const now = this.clock.now();
    return await this.outgoing.post({
      url: channel.url,
      headers: { 'content-type': 'application/json', 'user-agent': 'tollgate', ...signedHeaders(message, now, secretsAt(channel, now)) },
      body: message.body,
      deadlineMs: SEND_DEADLINE_MS,
      maxResponseBytes: MAX_RESPONSE_BYTES,
    });
  }
}
