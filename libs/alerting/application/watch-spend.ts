/**
 * Alerting's part in the posting transaction: balances that run low or out, holds that nobody reported, events that could not be booked.
 * An alert is noted with the booking that made it true or not at all, and a failure here is no failure of the booking. In an ordinary batch
 * this is arithmetic on what the poster knows.
 */
import { formatUsd, toWireId, type Clock, type Nano } from '#libs/kernel/index.js';
import { PostingParticipant, type SetAsideEvent, type SpendMovement, type TenantBalances } from '#libs/metering/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import type { NewAlert } from '../domain/alert.js';
import { balanceAlert } from '../domain/balance-level.js';
import { CreditLevels, type BookedBalance } from './credit-levels.js';
import type { CreditHistory } from './ports.js';
import type { NoteAlerts } from './note-alerts.js';

interface TenantBatch {
  netChargeNano: Nano;
  readonly seqs: Set<bigint>;
}

export class WatchSpend extends PostingParticipant {
  private readonly levels: CreditLevels;

  constructor(
    private readonly noteAlerts: NoteAlerts,
    private readonly tenants: TenantDirectory,
    history: CreditHistory,
    private readonly clock: Clock,
  ) {
    super();
    this.levels = new CreditLevels(history);
  }

  override async onPosted(tx: Sql, movements: readonly SpendMovement[], balances: TenantBalances): Promise<void> {
    const at = this.clock.now();
    await this.noteAlerts.execute({ tx, find: () => unresolvedHolds(movements, at) });
    const told = await this.noteAlerts.execute({ tx, find: async (sql) => await this.balanceAlerts(sql, movements, balances, at) });
    // A line that was crossed meanwhile is then told at the tenant's next booking.
    if (!told) this.levels.forget(movements.map(({ tenantId }) => tenantId));
  }

  /** Once per tenant, model and day: a price that is missing sets every call of a model aside. */
  override async onSetAside(tx: Sql, events: readonly SetAsideEvent[]): Promise<void> {
    await this.noteAlerts.execute({ tx, find: () => quarantinedEvents(events, this.clock.now()) });
  }

  private async balanceAlerts(tx: Sql, movements: readonly SpendMovement[], balances: TenantBalances, at: Date): Promise<NewAlert[]> {
    const batches = chargesByTenant(movements);
    const tenants = await this.tenants.findManyInside(tx, [...batches.keys()]);
    const booked: (BookedBalance & { beforeNano: Nano })[] = [];
    for (const [tenantId, { netChargeNano, seqs }] of batches) {
      const balance = balances.get(tenantId);
      const tenant = tenants.get(tenantId);
      if (balance === undefined || tenant?.billing !== 'prepaid') continue;
      const afterNano = balance.lotsNano - balance.receivableNano + tenant.creditLimitNano;
      booked.push({ tenantId, afterNano, beforeNano: afterNano + netChargeNano, seqBefore: balance.seq - BigInt(seqs.size), seqAfter: balance.seq });
    }
    const levels = await this.levels.measure(tx, booked, at);
    return booked.flatMap(({ tenantId, beforeNano, afterNano }) => {
      const level = levels.get(tenantId);
      if (level === undefined) return [];
      return balanceAlert({ tenantId, beforeNano: level.seenAll ? beforeNano : null, afterNano, credit: level.credit, at }) ?? [];
    });
  }
}

/** Tenants whose money moved in this batch. */
function chargesByTenant(movements: readonly SpendMovement[]): Map<string, TenantBatch> {
  const batches = new Map<string, TenantBatch>();
  for (const { tenantId, tenantSeq, sign, chargeNano } of movements) {
    if (tenantSeq === null) continue;
    let batch = batches.get(tenantId);
    if (batch === undefined) batches.set(tenantId, (batch = { netChargeNano: 0n, seqs: new Set() }));
    batch.netChargeNano += sign === 1 ? chargeNano : -chargeNano;
    batch.seqs.add(tenantSeq);
  }
  return batches;
}

function quarantinedEvents(events: readonly SetAsideEvent[], at: Date): NewAlert[] {
  const first = new Map<string, { event: SetAsideEvent; events: number }>();
  for (const event of events) {
    const key = JSON.stringify([event.tenantId, event.provider, event.model]);
    const seen = first.get(key);
    if (seen === undefined) first.set(key, { event, events: 1 });
    else seen.events += 1;
  }
  return [...first.values()].map(({ event, events: count }) => ({
    kind: 'event.quarantined',
    tenantId: event.tenantId,
    dedupKey: JSON.stringify([event.provider, event.model, dayOf(at)]),
    occurredAt: at,
    severity: 'warning',
    subject: {
      provider: event.provider,
      model: event.model,
      reason: event.reason,
      day: dayOf(at),
      first_event: toWireId('evt', event.eventId),
      events_at_first: count,
    },
  }));
}

/** The charge of a hold that ran out: one alert per tenant and day. */
function unresolvedHolds(movements: readonly SpendMovement[], at: Date): NewAlert[] {
  const first = new Map<string, SpendMovement>();
  for (const movement of movements) if (movement.provisional && movement.sign === 1 && !first.has(movement.tenantId)) first.set(movement.tenantId, movement);
  return [...first.values()].map((movement) => ({
    kind: 'hold.unresolved',
    tenantId: movement.tenantId,
    dedupKey: dayOf(at),
    occurredAt: at,
    severity: 'warning',
    subject: {
      day: dayOf(at),
      first_hold: movement.holdId === null ? null : toWireId('hold', movement.holdId),
      first_charge_usd: formatUsd(movement.chargeNano),
      provider: movement.provider,
      model: movement.model,
    },
  }));
}

/** "2026-11-22", in UTC. */
function dayOf(at: Date): string {
  return at.toISOString().slice(0, 10);
}
