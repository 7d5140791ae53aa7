import { assert, newUuid, type Nano } from '#libs/kernel/index.js';
import { AuditLog, type ChangeContext } from '#libs/platform/audit/audit-log.js';
import { Database, type Sql } from '#libs/platform/postgres/database.js';
import { planAdjustment } from '../domain/adjustment-plan.js';
import type { TenantBalance } from '../domain/balance.js';
import { DEFAULT_LOT_PRIORITY, type Lot } from '../domain/lot.js';
import { stateOfBalance } from './audit-entries.js';
import { refuseBeyondRange } from './grant-credit.js';
import { answerOnce, type IdempotencyKey, type Once } from './idempotency.js';
import { Journal } from './journal.js';
import { LedgerStore, type LockedTenant } from './ports.js';

export interface AdjustBalanceInput {
  readonly tenantId: string;
  /** Not 0; negative takes from the tenant. */
  readonly amountNano: Nano;
  /** Why, for the auditor. */
  readonly reason: string;
  readonly by: ChangeContext;
  readonly idempotency: IdempotencyKey<AdjustmentReceipt> | null;
}

export interface AdjustmentReceipt {
  readonly transactionId: string;
  readonly amountNano: Nano;
  /** The promo lot that received what was left after paying a debt. */
  readonly lotId: string | null;
  readonly balance: TenantBalance;
}

/** Corrects a balance by hand. A debit burns lots like usage; a credit pays a debt first, the rest is a promo lot without expiry. */
export class AdjustBalance {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
    private readonly audit: AuditLog,
  ) {}

  /** @throws DomainError balance.out_of_range (invalid), idempotency.conflict (conflict) */
  async execute(input: AdjustBalanceInput): Promise<Once<AdjustmentReceipt>> {
    assert(input.amountNano !== 0n && input.reason.length > 0, 'an adjustment has an amount and a reason');
    return await this.database.transaction((tx) =>
      answerOnce(this.store, tx, { tenantId: input.tenantId, scope: 'adjustment', idempotency: input.idempotency }, (locked, tenant) =>
        this.adjust(tx, input, locked, tenant),
      ),
    );
  }

  private async adjust(tx: Sql, input: AdjustBalanceInput, locked: ReadonlyMap<string, LockedTenant>, tenant: LockedTenant): Promise<AdjustmentReceipt> {
    const { tenantId, amountNano } = input;
    refuseBeyondRange(amountNano > 0n ? tenant.lotsNano + amountNano : tenant.receivableNano - amountNano);
    const lots = amountNano < 0n ? await this.store.openLots(tx, [tenantId]) : new Map<string, Lot[]>();
    const lotId = newUuid(tenant.bookedAt);
    const plan = planAdjustment({ amountNano, lots: lots.get(tenantId) ?? [], receivableNano: tenant.receivableNano, at: tenant.bookedAt, newLotId: lotId });
    if (plan.creditedNano > 0n) await this.store.openLot(tx, promoLot(tenant, lotId, plan.creditedNano));

    const journal = new Journal(locked);
    const before = journal.balance(tenantId);
    const entry = journal.add({
      tenantId,
      kind: 'adjustment',
      idemScope: 'adjustment',
      idemKey: input.idempotency?.key ?? null,
      requestHash: input.idempotency?.fingerprint ?? Buffer.alloc(0),
      actor: input.by.actor,
      reason: input.reason,
      transfers: plan.transfers,
    });
    await this.store.append(tx, journal.entries);
    await this.audit.append(tx, {
      at: tenant.bookedAt,
      actor: input.by.actor,
      action: 'balance.adjusted',
      entity: 'balance',
      entityId: tenantId,
      tenantId,
      before: stateOfBalance(before),
      after: stateOfBalance(entry.after),
      reason: input.reason,
      requestId: input.by.requestId,
    });
    return { transactionId: entry.transactionId, amountNano, lotId: plan.creditedNano > 0n ? lotId : null, balance: entry.after };
  }
}

function promoLot(tenant: LockedTenant, lotId: string, grantedNano: Nano): Lot {
  return {
    lotId,
    tenantId: tenant.tenantId,
    kind: 'promo',
    grantedNano,
    remainingNano: 0n,
    priority: DEFAULT_LOT_PRIORITY,
    effectiveAt: tenant.bookedAt,
    expiresAt: null,
    createdAt: tenant.bookedAt,
    voidedAt: null,
    reference: 'adjustment',
  };
}
