import { DomainError, type Nano } from '#libs/kernel/index.js';
import { AuditLog, type ChangeContext } from '#libs/platform/audit/audit-log.js';
import { Database, type Sql } from '#libs/platform/postgres/database.js';
import type { TenantBalance } from '../domain/balance.js';
import type { Lot } from '../domain/lot.js';
import { planClosing } from '../domain/lot-plan.js';
import { auditOfLot } from './audit-entries.js';
import { answerOnce, type IdempotencyKey, type Once } from './idempotency.js';
import { Journal } from './journal.js';
import { LedgerStore, type LockedTenant } from './ports.js';

export interface VoidCreditInput {
  readonly lotId: string;
  readonly tenantId: string;
  readonly reason: string | null;
  readonly by: ChangeContext;
  readonly idempotency: IdempotencyKey<VoidReceipt> | null;
}

export interface VoidReceipt {
  readonly lot: Lot;
  /** What was left and went back. */
  readonly voidedNano: Nano;
  /** Null when nothing was left. */
  readonly transactionId: string | null;
  readonly balance: TenantBalance;
}

/** Takes back what is left of a lot and closes it for ever; what was burnt stays burnt. */
export class VoidCredit {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
    private readonly audit: AuditLog,
  ) {}

  /** @throws DomainError credit.not_found, credit.already_voided, idempotency.conflict */
  async execute(input: VoidCreditInput): Promise<Once<VoidReceipt>> {
    return await this.database.transaction((tx) =>
      answerOnce(this.store, tx, { tenantId: input.tenantId, scope: 'void', idempotency: input.idempotency }, (locked, tenant) =>
        this.close(tx, input, locked, tenant),
      ),
    );
  }

  private async close(tx: Sql, input: VoidCreditInput, locked: ReadonlyMap<string, LockedTenant>, tenant: LockedTenant): Promise<VoidReceipt> {
    const [lot] = await this.store.findLots(tx, [input.lotId]);
    if (lot === undefined || lot.tenantId !== input.tenantId)
      throw new DomainError({ code: 'credit.not_found', kind: 'not_found', publicMessage: 'there is no such credit' });
    if (lot.voidedAt !== null)
      throw new DomainError({ code: 'credit.already_voided', kind: 'conflict', publicMessage: 'this credit was voided before; nothing was changed' });

    const voided: Lot = { ...lot, voidedAt: tenant.bookedAt };
    const closing = planClosing(voided, tenant.bookedAt);
    const journal = new Journal(locked);
    await this.store.markVoided(tx, lot.lotId, tenant.bookedAt);
    if (closing !== null) {
      journal.add({
        tenantId: lot.tenantId,
        kind: 'void',
        idemScope: 'void',
        idemKey: input.idempotency?.key ?? null,
        requestHash: input.idempotency?.fingerprint ?? Buffer.alloc(0),
        actor: input.by.actor,
        reason: input.reason,
        reference: lot.lotId,
        transfers: [closing.transfer],
      });
    }
    await this.store.append(tx, journal.entries);

    const emptied: Lot = { ...voided, remainingNano: 0n };
    await this.audit.append(tx, auditOfLot({ action: 'credit.voided', at: tenant.bookedAt, before: lot, after: emptied, by: input.by, reason: input.reason }));
    return { lot: emptied, voidedNano: lot.remainingNano, transactionId: journal.entries[0]?.transactionId ?? null, balance: journal.balance(lot.tenantId) };
  }
}
