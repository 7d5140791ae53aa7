import { Clock, type Nano } from '#libs/kernel/index.js';
import type { TenantBalance } from '../domain/balance.js';
import { spendableLots, type Lot } from '../domain/lot.js';
import { LedgerReader } from './ports.js';

export interface BalanceView {
  /** Lots less receivable, as booked. */
  readonly postedNano: Nano;
  /** What may still be spent where nothing is held: lots that may be burnt now, less receivable, plus the credit limit. Negative when overspent. */
  readonly availableNano: Nano;
  readonly creditLimitNano: Nano;
  readonly receivableNano: Nano;
  /** Lots that may be burnt, in burn order. */
  readonly lots: readonly Lot[];
  readonly asOf: Date;
}

export class ReadBalance {
  constructor(
    private readonly reader: LedgerReader,
    private readonly clock: Clock,
  ) {}

  async execute(input: { tenantId: string; creditLimitNano: Nano }): Promise<BalanceView> {
    const { balance, lots, bookedAt } = await this.reader.balance(input.tenantId);
    const now = this.clock.now();
    // Bookings go by the database's clock: a machine whose own is behind must not miss a lot that was just granted.
    const asOf = bookedAt !== null && bookedAt > now ? bookedAt : now;
    return viewOf(balance, spendableLots(lots, asOf), input.creditLimitNano, asOf);
  }
}

function viewOf(balance: TenantBalance, lots: readonly Lot[], creditLimitNano: Nano, asOf: Date): BalanceView {
  const spendableNano = lots.reduce((sum, lot) => sum + lot.remainingNano, 0n);
  return {
    postedNano: balance.lotsNano - balance.receivableNano,
    availableNano: spendableNano - balance.receivableNano + creditLimitNano,
    creditLimitNano,
    receivableNano: balance.receivableNano,
    lots,
    asOf,
  };
}
