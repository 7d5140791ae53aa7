import { toWireId, type Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { ChannelStore, Delivery, DeliveryStore } from './ports.js';

export type RetryOutcome = { readonly ok: true; readonly delivery: Delivery } | { readonly ok: false; readonly reason: 'not_found' | 'pending' | 'no_channel' };

/** Starts a finished delivery over, with the same message id. One that is still on its way is left alone: two attempts at once could both arrive. */
export class RetryDelivery {
  constructor(
    private readonly database: Database,
    private readonly deliveries: DeliveryStore,
    private readonly channels: ChannelStore,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  async execute(input: { readonly deliveryId: string; readonly context: ChangeContext }): Promise<RetryOutcome> {
    return await this.database.transaction(async (tx): Promise<RetryOutcome> => {
      const delivery = await this.deliveries.lock(tx, input.deliveryId);
      if (delivery === null) return { ok: false, reason: 'not_found' };
      if (delivery.status === 'pending') return { ok: false, reason: 'pending' };
      const channel = await this.channels.find(tx, delivery.channelId);
      if (channel === null || !channel.enabled) return { ok: false, reason: 'no_channel' };
      const at = this.clock.now();
      await this.deliveries.restart(tx, delivery.deliveryId, at);
      await this.audit.append(tx, {
        at,
        actor: input.context.actor,
        action: 'alert_delivery.retried',
        entity: 'alert_delivery',
        entityId: toWireId('dlv', delivery.deliveryId),
        tenantId: null,
        before: { status: delivery.status, attempts: delivery.attempts },
        after: { status: 'pending', attempts: 0 },
        reason: null,
        requestId: input.context.requestId,
      });
      return { ok: true, delivery: { ...delivery, status: 'pending', attempts: 0, nextAttemptAt: at, finishedAt: null } };
    });
  }
}
