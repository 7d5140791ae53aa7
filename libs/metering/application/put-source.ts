import { DomainError, type Clock, type JsonObject } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { AUTHORIZE_HEADER_FIELDS, authorizeHeaderProblem, type AuthorizeHeaders, type Gateway, type OnNewTenant, type Source } from '../domain/source.js';
import type { Attribution } from '../domain/spend-event.js';
import { pathProblem } from '../gateways/read-item.js';
import type { SourceDirectory } from './source-directory.js';

export interface PutSourceInput {
  readonly sourceId: string;
  /** Required for a new source; an existing one keeps its own. */
  readonly gateway: Gateway | undefined;
  readonly trust: { readonly tenant?: boolean | undefined; readonly cost?: boolean | undefined } | undefined;
  readonly attribution: Attribution | undefined;
  readonly defaults: { readonly environment?: string } | undefined;
  readonly onNewTenant: OnNewTenant | undefined;
  readonly authorizeHeaders: AuthorizeHeaders | undefined;
}

/** Makes or changes a source; a field left out keeps its value. Audited in the same transaction. */
export class PutSource {
  constructor(
    private readonly database: Database,
    private readonly sources: SourceDirectory,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError source.gateway_required, source.gateway_fixed, source.attribution_path, source.authorize_header */
  async execute(input: PutSourceInput, change: ChangeContext): Promise<Source> {
    const now = this.clock.now();
    const source = await this.database.transaction(async (tx) => {
      const before = await this.sources.read(tx, input.sourceId);
      const after = merge(before, input, now);
      await this.sources.write(tx, after);
      await this.audit.append(tx, {
        at: now,
        actor: change.actor,
        action: before ? 'source.changed' : 'source.created',
        entity: 'source',
        entityId: input.sourceId,
        tenantId: null,
        before: before && toAudit(before),
        after: toAudit(after),
        reason: null,
        requestId: change.requestId,
      });
      return after;
    });
    this.sources.forget(input.sourceId);
    return source;
  }
}

function toAudit(source: Source): JsonObject {
  return {
    gateway: source.gateway,
    trust: { tenant: source.trustTenant, cost: source.trustCost },
    attribution: Object.fromEntries(Object.entries(source.attribution).map(([field, paths]) => [field, [...paths]])),
    defaults: { ...source.defaults },
    on_new_tenant: source.onNewTenant,
    authorize_headers: { ...source.authorizeHeaders },
  };
}

function merge(before: Source | null, input: PutSourceInput, now: Date): Source {
  const gateway = before?.gateway ?? input.gateway;
  if (gateway === undefined) {
    throw invalid('source.gateway_required', 'gateway', 'is required for a new source');
  }
  if (input.gateway !== undefined && input.gateway !== gateway) {
    throw invalid('source.gateway_fixed', 'gateway', 'cannot change: its events are identified by it; make another source');
  }
  if (input.attribution !== undefined) checkPaths(gateway, input.attribution);
  if (input.authorizeHeaders !== undefined) checkHeaders(input.authorizeHeaders);
  return {
    sourceId: input.sourceId,
    gateway,
    trustTenant: input.trust?.tenant ?? before?.trustTenant ?? true,
    trustCost: input.trust?.cost ?? before?.trustCost ?? false,
    attribution: input.attribution ?? before?.attribution ?? {},
    defaults: input.defaults ?? before?.defaults ?? {},
    onNewTenant: input.onNewTenant ?? before?.onNewTenant ?? 'create',
    authorizeHeaders: input.authorizeHeaders ?? before?.authorizeHeaders ?? {},
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

/** Refuses a path that could never answer, where it is set rather than where it is missed. */
function checkPaths(gateway: Gateway, attribution: Attribution): void {
  for (const [field, paths] of Object.entries(attribution)) {
    paths.forEach((path, index) => {
      const rule = pathProblem(gateway, path);
      if (rule !== null) throw invalid('source.attribution_path', `attribution.${field}[${index}]`, rule);
    });
  }
}

function checkHeaders(headers: AuthorizeHeaders): void {
  for (const field of AUTHORIZE_HEADER_FIELDS) {
    const name = headers[field];
    const rule = name === undefined ? null : authorizeHeaderProblem(field, name);
    if (rule !== null) throw invalid('source.authorize_header', `authorize_headers.${field}`, rule);
  }
}

function invalid(code: string, path: string, message: string): DomainError {
  return new DomainError({ code, kind: 'invalid', publicMessage: `${path} ${message}`, errors: [{ path, message }] });
}
