/**
 * A budget's crossing becomes an alert: one per budget version, counter, period and percent, whoever tells it how often. How grave it is
 * follows from what the threshold does; what refuses nothing, because the budget or its tenant is in shadow, is told as shadow.
 */
import type { NewAlert, RaiseAlert, Severity } from '#libs/alerting/index.js';
import { formatUsd, type JsonObject } from '#libs/kernel/index.js';
import { CrossingListener, EVERYBODY, keyOfBalance, type ToldCrossing } from '#libs/quota/index.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';

const SEVERITY_OF: Readonly<Record<ToldCrossing['action'], Severity>> = { notify: 'info', downgrade: 'warning', block: 'critical' };

export class CrossingAlerts extends CrossingListener {
  constructor(
    private readonly raiseAlert: RaiseAlert,
    private readonly tenants: TenantDirectory,
  ) {
    super();
  }

  override async onCrossings(crossings: readonly ToldCrossing[]): Promise<void> {
    const tenants = await this.tenants.findMany([...new Set(crossings.map(({ tenantId }) => tenantId))]);
    const isShadow = ({ tenantId, shadow }: ToldCrossing): boolean => shadow || (tenantId !== EVERYBODY && tenants.get(tenantId)?.enforcement !== 'enforce');
    const alerts = crossings.map((crossing) => alertOf(crossing, isShadow(crossing)));
    await this.raiseAlert.execute({ alerts });
  }
}

function alertOf(crossing: ToldCrossing, shadow: boolean): NewAlert {
  const { tenantId, acrossTenants, budgetId, version, valueKey, metric, percent, periodStartsAt } = crossing;
  return {
    kind: 'threshold.crossed',
    // What all tenants share is nobody's own: it goes to the operator's channels.
    tenantId: tenantId === EVERYBODY ? null : tenantId,
    dedupKey: JSON.stringify([acrossTenants, budgetId, version, valueKey, metric, periodStartsAt.getTime(), percent]),
    occurredAt: crossing.crossedAt,
    severity: SEVERITY_OF[crossing.action],
    subject: subjectOf(crossing, shadow),
  };
}

/** The balance of a key is told as the key's. */
function whose(budgetId: string): JsonObject {
  const apiKeyId = keyOfBalance(budgetId);
  return apiKeyId === null ? { budget_id: budgetId } : { budget_id: null, api_key_id: apiKeyId };
}

/** Names and figures as `GET /v1/tenants/{id}/limits` tells them: dollars as decimals, the rest as whole numbers, all as text. */
function subjectOf(crossing: ToldCrossing, shadow: boolean): JsonObject {
  const { period, metric, limit, used } = crossing;
  const amount = (value: bigint): string => (metric === 'usd' ? formatUsd(value) : String(value));
  return {
    ...whose(crossing.budgetId),
    budget_version: String(crossing.version),
    across_tenants: crossing.acrossTenants,
    values: { ...(crossing.values as Record<string, string>) },
    metric,
    percent: String(crossing.percent),
    action: crossing.action,
    used: amount(used),
    limit: amount(limit),
    period: period.kind === 'rolling' ? { rolling_seconds: period.seconds } : period.kind,
    period_start: crossing.periodStartsAt.toISOString(),
    resets_at: crossing.periodEndsAt?.toISOString() ?? null,
    shadow,
  };
}
