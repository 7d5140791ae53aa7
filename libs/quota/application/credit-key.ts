/**
 * Credits a key's own balance, and opens it where it is not there yet. The balance's budget, the record of the credit and the audit entry are
 * one transaction, which postings and other changes of rules wait for, so of two credits at once both count. A repeat under one
 * Idempotency-Key answers the first credit again.
 */
import { digest128, DomainError, formatUsd, MAX_NANO, newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { ApiKeyDirectory } from '#libs/tenancy/index.js';
import type { Budget } from '../domain/budget.js';
import { balanceBudgetId, newKeyBalance } from '../domain/key-balance.js';
import type { BudgetStore } from './budget-store.js';
import type { RuleBook } from './rule-book.js';

export interface KeyCredit {
  readonly creditId: string;
  /** On the wire: ak_... */
  readonly apiKeyId: string;
  /** nano-USD, above zero. */
  readonly amountNano: Nano;
  readonly reference: string | null;
  readonly idemKey: string | null;
  readonly requestHash: Buffer;
  readonly createdAt: Date;
}

export abstract class KeyCreditStore {
  abstract find(tx: Sql, tenantId: string, apiKeyId: string, idemKey: string): Promise<KeyCredit | null>;
  abstract insert(tx: Sql, tenantId: string, credit: KeyCredit): Promise<void>;
}

interface CreditKeyInput {
  readonly tenantId: string;
  readonly apiKeyId: string;
  /** Zero opens the balance and credits nothing. */
  readonly amountNano: Nano;
  readonly reference: string | null;
  readonly idempotencyKey: string | null;
  readonly context: ChangeContext;
}

export class CreditKey {
  constructor(
    private readonly keys: ApiKeyDirectory,
    private readonly budgets: BudgetStore,
    private readonly credits: KeyCreditStore,
    private readonly rules: RuleBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns the credit; null where only the balance was opened
   * @throws DomainError api_key.not_found, api_key.not_live (409), api_key.not_prepaid (409), balance.out_of_range (400), idempotency.conflict (409)
   */
  async execute(input: CreditKeyInput): Promise<KeyCredit | null> {
    await this.assertPrepaid(input);
    const credit = await this.budgets.change(input.tenantId, async (tx) => await this.change(tx, input));
    await this.rules.refresh();
    return credit;
  }

  private async change(tx: Sql, input: CreditKeyInput): Promise<{ changed: boolean; result: KeyCredit | null }> {
    const { tenantId, apiKeyId, amountNano } = input;
    const requestHash = digest128('key credit', String(amountNano), input.reference ?? '');
    const earlier = input.idempotencyKey === null ? null : await this.credits.find(tx, tenantId, apiKeyId, input.idempotencyKey);
    if (earlier !== null) {
      if (earlier.requestHash.equals(requestHash)) return { changed: false, result: earlier };
      throw new DomainError({ code: 'idempotency.conflict', kind: 'conflict', publicMessage: 'this Idempotency-Key was used with another body' });
    }
    const at = this.clock.now();
    const before = await this.budgets.find(tx, tenantId, balanceBudgetId(apiKeyId));
    if (before !== null && amountNano === 0n) return { changed: false, result: null };
    const balance = before ?? newKeyBalance({ tenantId, apiKeyId, at });
    const after = credited(balance, amountNano, at);
    await this.budgets.save(tx, after, null);
    const credit: KeyCredit | null =
      amountNano === 0n
        ? null
        : { creditId: newUuid(at), apiKeyId, amountNano, reference: input.reference, idemKey: input.idempotencyKey, requestHash, createdAt: at };
    if (credit !== null) await this.credits.insert(tx, tenantId, credit);
    await this.audit.append(tx, {
      at,
      actor: input.context.actor,
      action: 'api_key.credited',
      entity: 'api_key',
      entityId: apiKeyId,
      tenantId,
      before: before === null ? null : { granted_usd: grantedOf(before) },
      after: { granted_usd: grantedOf(after), amount_usd: formatUsd(amountNano), reference: input.reference },
      reason: null,
      requestId: input.context.requestId,
    });
    return { changed: true, result: credit };
  }

  private async assertPrepaid({ tenantId, apiKeyId }: CreditKeyInput): Promise<void> {
    const found = await this.keys.findById(apiKeyId);
    if (found === null || found.key.tenantId !== tenantId)
      throw new DomainError({ code: 'api_key.not_found', kind: 'not_found', publicMessage: 'there is no such key' });
    if (!found.key.prepaid)
      throw new DomainError({
        code: 'api_key.not_prepaid',
        kind: 'conflict',
        publicMessage: 'this key has no balance of its own: a key gets one when it is made, with prepaid_usd',
      });
    if (!found.live) throw new DomainError({ code: 'api_key.not_live', kind: 'conflict', publicMessage: 'a revoked or expired key cannot be credited' });
  }
}

function credited(balance: Budget, amountNano: Nano, at: Date): Budget {
  const usdNano = (balance.limits.usdNano ?? 0n) + amountNano;
  if (usdNano > MAX_NANO)
    throw new DomainError({
      code: 'balance.out_of_range',
      kind: 'invalid',
      publicMessage: 'the key would have been granted more than 9,000,000 USD',
      errors: [{ path: 'amount_usd', message: 'must keep what the key was ever granted within 9,000,000 USD' }],
    });
  return { ...balance, limits: { ...balance.limits, usdNano }, updatedAt: at };
}

function grantedOf({ limits }: Budget): string {
  return formatUsd(limits.usdNano ?? 0n);
}
