import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { fromWireId, toWireId } from '#libs/kernel/index.js';
import { AuditLog, type AuditRecord } from '#libs/platform/audit/audit-log.js';
import { Database } from '#libs/platform/postgres/database.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { auditPage, listAuditQuery, type AuditWire, type ListAuditQuery } from './audit.schemas.js';

@ApiTags('audit')
@Controller('v1/audit')
export class AuditController {
  constructor(
    private readonly database: Database,
    private readonly auditLog: AuditLog,
  ) {}

  /** Newest first. A key bound to a tenant sees the changes of that tenant. */
  @Get()
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiOkResponse({ standardSchema: auditPage })
  async list(@Query({ schema: listAuditQuery }) query: ListAuditQuery, @CurrentCaller() caller: Caller): Promise<Page<AuditWire>> {
    const before = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && fromWireId('aud', id) !== null);
    const rows = await this.auditLog.list(this.database, {
      tenantId: tenantFilter(caller, query.tenant_id),
      entity: query.entity,
      from: query.from,
      to: query.to,
      before: before?.[0] === undefined ? undefined : (fromWireId('aud', before[0]) ?? undefined),
      limit: query.limit + 1,
    });
    return toPage(rows, query.limit, (record) => [toWireId('aud', record.auditId)], toAuditWire);
  }
}

function toAuditWire(record: AuditRecord): AuditWire {
  return {
    audit_id: toWireId('aud', record.auditId),
    at: record.at.toISOString(),
    actor: record.actor,
    action: record.action,
    entity: record.entity,
    entity_id: record.entityId,
    tenant_id: record.tenantId,
    before: record.before,
    after: record.after,
    reason: record.reason,
    request_id: record.requestId,
  };
}
