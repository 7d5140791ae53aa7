import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ListAlerts, type AlertView } from '#libs/alerting/index.js';
import { fromWireId, toWireId } from '#libs/kernel/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { alertPage, listAlertsQuery, type AlertWire, type ListAlertsQuery } from './alerts.schemas.js';

@ApiTags('alerts')
@Controller('v1/alerts')
export class AlertsController {
  constructor(private readonly listAlerts: ListAlerts) {}

  /** Newest first, with their deliveries; `from` and `to` are times of raising. A key bound to a tenant sees that tenant's alerts. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: alertPage })
  async list(@Query({ schema: listAlertsQuery }) query: ListAlertsQuery, @CurrentCaller() caller: Caller): Promise<Page<AlertWire>> {
    const position = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && fromWireId('alrt', id) !== null);
    const rows = await this.listAlerts.execute({
      tenantId: tenantFilter(caller, query.tenant_id),
      kind: query.kind,
      from: query.from,
      to: query.to,
      before: position?.[0] === undefined ? undefined : (fromWireId('alrt', position[0]) ?? undefined),
      limit: query.limit,
    });
    return toPage(rows, query.limit, ({ alert }) => [toWireId('alrt', alert.alertId)], toAlertWire);
  }
}

function toAlertWire({ alert, deliveries }: AlertView): AlertWire {
  return {
    alert_id: toWireId('alrt', alert.alertId),
    kind: alert.kind,
    severity: alert.severity,
    tenant_id: alert.tenantId,
    occurred_at: alert.occurredAt.toISOString(),
    raised_at: alert.raisedAt.toISOString(),
    subject: { ...alert.subject },
    deliveries: deliveries.map((delivery) => ({
      delivery_id: toWireId('dlv', delivery.deliveryId),
      channel_id: delivery.channelId,
      status: delivery.status,
      attempts: delivery.attempts,
      next_attempt_at: delivery.nextAttemptAt?.toISOString() ?? null,
      finished_at: delivery.finishedAt?.toISOString() ?? null,
    })),
  };
}
