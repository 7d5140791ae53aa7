import { z } from 'zod';
import { externalId, page, pageOf, period, text } from '../../http/schemas.js';

export const listAuditQuery = z.strictObject({ ...page, ...period, tenant_id: externalId().optional(), entity: text(64).optional() });
export type ListAuditQuery = z.infer<typeof listAuditQuery>;

export const auditWire = z
  .object({
    audit_id: z.string(),
    at: z.string(),
    actor: z.string(),
    action: z.string(),
    entity: z.string(),
    entity_id: z.string(),
    tenant_id: z.string().nullable(),
    before: z.unknown(),
    after: z.unknown(),
    reason: z.string().nullable(),
    request_id: z.string().nullable(),
  })
  .meta({ id: 'AuditEntry' });
export type AuditWire = z.infer<typeof auditWire>;

export const auditPage = pageOf(auditWire);
