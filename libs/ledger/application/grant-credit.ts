import { DomainError, MAX_NANO, newUuid, type Nano } from '#libs/kernel/index.js';
import { AuditLog, type ChangeContext } from '#libs/platform/audit/audit-log.js';
import { Database, type Sql } from '#libs/platform/postgres/database.js';
import type { TenantBalance } from '../domain/balance.js';
import { DEFAULT_LOT_PRIORITY, type Lot, type LotKind } from '../domain/lot.js';
import { planCollection, planGrant } from '../domain/lot-plan.js';
import { auditOfLot } from './audit-entries.js';
import { answerOnce, type IdempotencyKey, type Once } from './idempotency.js';
import { Journal } from './journal.js';
import { LedgerStore, type LockedTenant } from './ports.js';

export interface GrantCreditInput {
  /** An existing tenant: the ledger does not know who exists. */
  readonly tenantId: string;
  /** 1 to 9e15. */
  readonly amountNano: Nano;
  readonly kind: LotKind;
  readonly expiresAt: Date | null;
  /** 0 to 100, 0 burns first; null is 50. */
  readonly priority: number | null;
  readonly reference: string | null;
  /** Whether a paid lot first pays what the tenant owes; true for prepaid tenants. */
  readonly collectReceivable: boolean;
  readonly by: ChangeContext;
  readonly idempotency: IdempotencyKey<GrantReceipt> | null;
}

export interface GrantReceipt {
  /** As it is after an eventual collection. */
  readonly lot: Lot;
  readonly transactionId: string;
  /** What the lot paid of the tenant's debt. */
  readonly collectedNano: Nano;
  readonly balance: TenantBalance;
}

/** Grants a lot of credit and, where asked, collects an existing debt from it before anything else can burn it. */
export class GrantCredit {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
    private readonly audit: AuditLog,
  ) {}

  /**
   * @throws DomainError credit.already_expired, balance.out_of_range (invalid), idempotency.conflict (conflict)
   */
  async execute(input: GrantCreditInput): Promise<Once<GrantReceipt>> {
    return await this.database.transaction((tx) =>
      answerOnce(this.store, tx, { tenantId: input.tenantId, scope: 'grant', idempotency: input.idempotency }, (locked, tenant) =>
        this.grant(tx, input, locked, tenant),
      ),
    );
  }

  private async grant(tx: Sql, input: GrantCreditInput, locked: ReadonlyMap<string, LockedTenant>, tenant: LockedTenant): Promise<GrantReceipt> {
    const lot = newLot(input, tenant.bookedAt);
    refuseBeyondRange(tenant.lotsNano + input.amountNano);
    await this.store.openLot(tx, lot);

    const journal = new Journal(locked);
    const common = {
      tenantId: input.tenantId,
      requestHash: input.idempotency?.fingerprint ?? Buffer.alloc(0),
      actor: input.by.actor,
      reference: input.reference,
    };
    const grant = journal.add({
      ...common,
      kind: 'grant',
      idemScope: 'grant',
      idemKey: input.idempotency?.key ?? null,
      transfers: [planGrant(lot.lotId, lot.kind, input.amountNano)],
    });
    const owed = input.collectReceivable && lot.kind === 'paid' ? tenant.receivableNano : 0n;
    const collection = planCollection(lot.lotId, input.amountNano, owed);
    if (collection !== null) {
      journal.add({
        ...common,
        kind: 'collection',
        idemScope: 'collection',
        idemKey: lot.lotId,
        reason: 'debt collected from a new paid lot',
        transfers: [collection],
      });
    }
    await this.store.append(tx, journal.entries);

    const collectedNano = collection?.amountNano ?? 0n;
    const filled: Lot = { ...lot, remainingNano: input.amountNano - collectedNano };
    await this.audit.append(tx, auditOfLot({ action: 'credit.granted', at: tenant.bookedAt, before: null, after: filled, by: input.by, reason: null }));
    return { lot: filled, transactionId: grant.transactionId, collectedNano, balance: journal.balance(input.tenantId) };
  }
}

function newLot(input: GrantCreditInput, bookedAt: Date): Lot {
  if (input.expiresAt !== null && input.expiresAt.getTime() <= bookedAt.getTime()) {
    const rule = 'must be in the future';
    throw new DomainError({
      code: 'credit.already_expired',
      kind: 'invalid',
      publicMessage: `expires_at ${rule}`,
      errors: [{ path: 'expires_at', message: rule }],
    });
  }
  return {
    lotId: newUuid(bookedAt),
    tenantId: input.tenantId,
    kind: input.kind,
    grantedNano: input.amountNano,
    remainingNano: 0n,
    priority: input.priority ?? DEFAULT_LOT_PRIORITY,
    effectiveAt: bookedAt,
    expiresAt: input.expiresAt,
    createdAt: bookedAt,
    voidedAt: null,
    reference: input.reference,
  };
}

/** A balance that the wire and the quota store cannot carry is refused at its source. @throws DomainError balance.out_of_range */
export function refuseBeyondRange(nano: Nano): void {
  if (nano <= MAX_NANO) return;
  throw new DomainError({
    code: 'balance.out_of_range',
    kind: 'invalid',
    publicMessage: 'the tenant would be beyond 9,000,000 USD',
    errors: [{ path: 'amount_usd', message: 'must keep the tenant within 9,000,000 USD either way' }],
  });
}
