import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ListDeliveries, RetryDelivery, type Delivery } from '#libs/alerting/index.js';
import { DomainError, fromWireId, toWireId } from '#libs/kernel/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import {
  alertDeliveryPage,
  alertDeliveryWire,
  deliveryId,
  listAlertDeliveriesQuery,
  type AlertDeliveryWire,
  type ListAlertDeliveriesQuery,
} from './alert-deliveries.schemas.js';

/** The log of what was sent where, with what endpoints answered: the operator's, like the channels. */
@ApiTags('alerts')
@Controller('v1/alert-deliveries')
export class AlertDeliveriesController {
  constructor(
    private readonly listDeliveries: ListDeliveries,
    private readonly retryDelivery: RetryDelivery,
  ) {}

  @Get()
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertDeliveryPage })
  async list(@Query({ schema: listAlertDeliveriesQuery }) query: ListAlertDeliveriesQuery): Promise<Page<AlertDeliveryWire>> {
    const position = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && fromWireId('dlv', id) !== null);
    const rows = await this.listDeliveries.execute({
      channelId: query.channel_id,
      status: query.status,
      before: position?.[0] === undefined ? undefined : (fromWireId('dlv', position[0]) ?? undefined),
      limit: query.limit,
    });
    return toPage(rows, query.limit, (delivery) => [toWireId('dlv', delivery.deliveryId)], toDeliveryWire);
  }

  /** Sends a delivered or failed message again, with its old id, from the first attempt on. */
  @Post(':id/retry')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: alertDeliveryWire })
  async retry(@Param('id', { schema: deliveryId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<AlertDeliveryWire> {
    const uuid = fromWireId('dlv', id);
    if (uuid === null) throw deliveryNotFound();
    const outcome = await this.retryDelivery.execute({ deliveryId: uuid, context: { actor: caller.actor, requestId } });
    if (outcome.ok) return toDeliveryWire(outcome.delivery);
    switch (outcome.reason) {
      case 'not_found':
        throw deliveryNotFound();
      case 'pending':
        throw conflict('alert_delivery.pending', 'the delivery is on its way; it is tried again at next_attempt_at');
      case 'no_channel':
        throw conflict('alert_delivery.no_channel', 'its channel is switched off or gone');
    }
  }
}

function toDeliveryWire(delivery: Delivery): AlertDeliveryWire {
  return {
    delivery_id: toWireId('dlv', delivery.deliveryId),
    alert_id: toWireId('alrt', delivery.alertId),
    channel_id: delivery.channelId,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: delivery.nextAttemptAt?.toISOString() ?? null,
    last_attempt_at: delivery.lastAttemptAt?.toISOString() ?? null,
    http_status: delivery.lastStatus,
    error: delivery.lastError,
    response_excerpt: delivery.responseExcerpt,
    created_at: delivery.createdAt.toISOString(),
    finished_at: delivery.finishedAt?.toISOString() ?? null,
  };
}

function deliveryNotFound(): DomainError {
  return new DomainError({ code: 'alert_delivery.not_found', kind: 'not_found', publicMessage: 'there is no such delivery' });
}

function conflict(code: string, publicMessage: string): DomainError {
  return new DomainError({ code, kind: 'conflict', publicMessage });
}
