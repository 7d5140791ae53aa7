/**
 * Brings due deliveries to their endpoints. Guarantees: an attempt is claimed by a row that other workers skip, with a lease that outlasts
 * its deadline, so a delivery is attempted by one worker at a time and taken up again after a crash; every channel has lanes of its own,
 * so an endpoint that hangs keeps nobody else's messages waiting; `execute` starts what is due and does not wait for endpoints.
 * An attempt whose worker dies after the endpoint's answer is made again with the same message id: at least once, told apart by its id.
 */
import { randomInt } from 'node:crypto';
import { MINUTE_MS, type Clock } from '#libs/kernel/index.js';
import type { AuditLog } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { judgeAttempt, type AttemptResult } from '../domain/attempt.js';
import { messageOf } from '../domain/webhook.js';
import { channelEntry } from './audit-wire.js';
import type { ChannelStore, ClaimedDelivery, DeliveryStore } from './ports.js';
import type { SendWebhook } from './send-webhook.js';

/** Six times the deadline of an attempt: only a dead worker loses its lease. */
const LEASE_MS = MINUTE_MS;
/** Per process. Two messages at once drain a backlog without being a load that an endpoint notices. */
const LANES_PER_CHANNEL = 2;
const CHANCE_STEPS = 2 ** 32;
const ACTOR = 'system:alerts';

export class DeliverAlerts {
  private readonly lanes = new Map<string, Set<Promise<void>>>();
  private closed = false;

  constructor(
    private readonly database: Database,
    private readonly deliveries: DeliveryStore,
    private readonly channels: ChannelStore,
    private readonly sendWebhook: SendWebhook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Starts what is due and has a free lane; returns how many lanes were started. @throws DomainError storage.unavailable */
  async execute(): Promise<number> {
    if (this.closed) return 0;
    let started = 0;
    for (const { channelId, due } of await this.deliveries.dueChannels(this.database, this.clock.now())) {
      const busy = this.lanes.get(channelId)?.size ?? 0;
      for (let free = Math.min(LANES_PER_CHANNEL - busy, due); free > 0; free -= 1) {
        this.startLane(channelId);
        started += 1;
      }
    }
    return started;
  }

  /** Returns when nothing is under way. */
  async settled(): Promise<void> {
    for (let running = this.running(); running.length > 0; running = this.running()) await Promise.all(running);
  }

  /** Starts nothing more and waits for the attempts under way: at most their deadline. */
  async close(): Promise<void> {
    this.closed = true;
    await this.settled();
  }

  private running(): Promise<void>[] {
    return [...this.lanes.values()].flatMap((lanes) => [...lanes]);
  }

  private startLane(channelId: string): void {
    const lanes = this.lanes.get(channelId) ?? new Set();
    this.lanes.set(channelId, lanes);
    const lane: Promise<void> = this.work(channelId)
      .catch(this.onError)
      .finally(() => {
        lanes.delete(lane);
        if (lanes.size === 0) this.lanes.delete(channelId);
      });
    lanes.add(lane);
  }

  private async work(channelId: string): Promise<void> {
    while (!this.closed) {
      const now = this.clock.now();
      const claimed = await this.deliveries.claim(this.database, channelId, now, new Date(now.getTime() + LEASE_MS));
      if (claimed === null) return;
      await this.attempt(claimed);
    }
  }

  private async attempt(claimed: ClaimedDelivery): Promise<void> {
    const outcome = await this.sendWebhook.execute({ channel: claimed.channel, message: messageOf(claimed.alert) });
    const now = this.clock.now();
    const result = judgeAttempt(outcome, claimed.attempt, now, randomInt(CHANCE_STEPS) / CHANCE_STEPS);
    if (result.verdict.kind === 'gone') await this.switchOff(claimed, result, now);
    else await this.deliveries.record(this.database, claimed, result, now);
  }

  /** The endpoint wants no more: the channel is switched off and what waits for it ends, unless it was given another URL meanwhile. */
  private async switchOff(claimed: ClaimedDelivery, result: AttemptResult, now: Date): Promise<void> {
    await this.database.transaction(async (tx) => {
      const before = await this.channels.lock(tx, claimed.channel.channelId);
      await this.deliveries.record(tx, claimed, result, now);
      if (before === null || !before.enabled || before.url !== claimed.channel.url) return;
      const after = { ...before, enabled: false, disabledReason: 'gone', updatedAt: now };
      await this.channels.save(tx, after);
      await this.deliveries.failPending(tx, before.channelId, 'channel_gone', now);
      await this.audit.append(
        tx,
        channelEntry({ action: 'alert_channel.disabled', at: now, before, after, by: { actor: ACTOR, requestId: null }, reason: 'the endpoint answered 410' }),
      );
    });
  }
}
