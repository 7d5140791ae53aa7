/**
 * A ledger as naive as can be, to be compared with the real one: lists, no intervals, no caches, no shared code. Every event remembers
 * the slices it took itself, so a reversal gives back what was remembered instead of recomputing it.
 */
export interface OracleLot {
  id: string;
  kind: 'paid' | 'promo';
  granted: bigint;
  left: bigint;
  priority: number;
  born: number;
  expires: number | null;
  voided: boolean;
}

export interface OracleEvent {
  id: string;
  provider: string;
  cost: bigint;
  slices: { debit: string; credit: string; amount: bigint }[];
  reversed: boolean;
}

export class OracleLedger {
  now: number;
  lots: OracleLot[] = [];
  events: OracleEvent[] = [];
  transactions = 0;
  /** Credits less debits, by account code. */
  private readonly book = new Map<string, bigint>();

  constructor(now: number) {
    this.now = now;
  }

  /** Accounts that are not at zero. */
  accounts(): Record<string, bigint> {
    return Object.fromEntries([...this.book].filter(([, value]) => value !== 0n).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  receivable(): bigint {
    return -(this.book.get('receivable') ?? 0n);
  }

  lotsTotal(): bigint {
    let total = 0n;
    for (const lot of this.lots) total += lot.left;
    return total;
  }

  grant(lot: { id: string; kind: 'paid' | 'promo'; amount: bigint; priority: number; expires: number | null }, collect: boolean): void {
    this.addLot(lot);
    this.move(lot.kind === 'paid' ? 'clearing:manual' : 'promo:funding', `lot:${lot.id}`, lot.amount);
    this.transactions += 1;
    const owed = this.receivable();
    if (lot.kind === 'paid' && collect && owed > 0n) {
      this.move(`lot:${lot.id}`, 'receivable', owed < lot.amount ? owed : lot.amount);
      this.transactions += 1;
    }
  }

  post(items: { id: string; provider: string; charge: bigint; cost: bigint }[]): void {
    if (items.every((item) => item.charge === 0n && item.cost === 0n)) {
      for (const item of items) this.events.push({ id: item.id, provider: item.provider, cost: 0n, slices: [], reversed: false });
      return;
    }
    for (const item of items) {
      const slices = this.burn(item.charge, (kind) => (kind === 'paid' ? 'revenue:usage' : kind === 'promo' ? 'promo:funding' : 'revenue:overage'));
      if (item.cost > 0n) this.move(`cost:${item.provider}`, `payable:${item.provider}`, item.cost);
      this.events.push({ id: item.id, provider: item.provider, cost: item.cost, slices, reversed: false });
    }
    this.transactions += 1;
  }

  reverse(event: OracleEvent): void {
    event.reversed = true;
    if (event.slices.length === 0 && event.cost === 0n) return;
    for (const slice of event.slices) this.move(slice.credit, slice.debit, slice.amount);
    if (event.cost > 0n) this.move(`payable:${event.provider}`, `cost:${event.provider}`, event.cost);
    this.transactions += 1;
  }

  void(lot: OracleLot): void {
    lot.voided = true;
    if (lot.left > 0n) this.close(lot, 'clearing:manual');
  }

  adjust(amount: bigint, newLotId: string): void {
    if (amount < 0n) {
      this.burn(-amount, () => 'variance:adjustment');
    } else {
      const owed = this.receivable() > 0n ? this.receivable() : 0n;
      const paid = owed < amount ? owed : amount;
      if (paid > 0n) this.move('variance:adjustment', 'receivable', paid);
      if (amount > paid) {
        this.addLot({ id: newLotId, kind: 'promo', amount: amount - paid, priority: 50, expires: null });
        this.move('variance:adjustment', `lot:${newLotId}`, amount - paid);
      }
    }
    this.transactions += 1;
  }

  expire(): void {
    for (const lot of this.lots) {
      if (lot.left === 0n) continue;
      if (lot.voided) this.close(lot, 'clearing:manual');
      else if (lot.expires !== null && lot.expires <= this.now) this.close(lot, 'revenue:breakage');
    }
  }

  private addLot(lot: { id: string; kind: 'paid' | 'promo'; amount: bigint; priority: number; expires: number | null }): void {
    this.lots.push({ id: lot.id, kind: lot.kind, granted: lot.amount, left: 0n, priority: lot.priority, born: this.now, expires: lot.expires, voided: false });
  }

  private close(lot: OracleLot, paidSide: string): void {
    this.move(`lot:${lot.id}`, lot.kind === 'paid' ? paidSide : 'promo:funding', lot.left);
    this.transactions += 1;
  }

  private burn(amount: bigint, contra: (source: 'paid' | 'promo' | 'receivable') => string): OracleEvent['slices'] {
    const slices: OracleEvent['slices'] = [];
    let left = amount;
    while (left > 0n) {
      const lot = this.firstLot();
      const taken = lot === null || lot.left > left ? left : lot.left;
      const debit = lot === null ? 'receivable' : `lot:${lot.id}`;
      const credit = contra(lot === null ? 'receivable' : lot.kind);
      this.move(debit, credit, taken);
      slices.push({ debit, credit, amount: taken });
      left -= taken;
    }
    return slices;
  }

  /** The lot that burns next: the smallest sort key of those that may burn. */
  private firstLot(): OracleLot | null {
    let best: OracleLot | null = null;
    for (const lot of this.lots) {
      if (lot.left === 0n || lot.voided || (lot.expires !== null && lot.expires <= this.now)) continue;
      if (best === null || sortKey(lot) < sortKey(best)) best = lot;
    }
    return best;
  }

  private move(debit: string, credit: string, amount: bigint): void {
    this.book.set(debit, (this.book.get(debit) ?? 0n) - amount);
    this.book.set(credit, (this.book.get(credit) ?? 0n) + amount);
    for (const lot of this.lots) {
      if (debit === `lot:${lot.id}`) lot.left -= amount;
      if (credit === `lot:${lot.id}`) lot.left += amount;
    }
  }
}

/** Text that sorts like the burn order; every grant is effective when it is born. */
function sortKey(lot: OracleLot): string {
  const digits = (value: number): string => String(value).padStart(16, '0');
  return [digits(lot.priority), digits(lot.expires ?? 9e15), lot.kind === 'promo' ? '0' : '1', digits(lot.born), lot.id].join('/');
}
