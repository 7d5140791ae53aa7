import type { Sql } from '#libs/platform/postgres/database.js';
import type { RecentCredit } from '../domain/balance-level.js';
import { CreditLevels, type BookedBalance } from './credit-levels.js';
import { CreditHistory } from './ports.js';

const CREDIT: RecentCredit = { grantedNano: 100n, newestLotId: 'lot-1' };
const NOW = new Date('2026-11-22T12:00:00Z');
const tx: Sql = { query: async () => await Promise.resolve([]), execute: async () => await Promise.resolve(0), copy: async () => await Promise.resolve(0) };

class CountingHistory extends CreditHistory {
  readonly asked: string[][] = [];

  override async recent(_sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, RecentCredit>> {
    this.asked.push([...tenantIds]);
    return await Promise.resolve(new Map(tenantIds.map((tenantId) => [tenantId, CREDIT])));
  }
}

const booked = (tenantId: string, seqBefore: bigint, seqAfter = seqBefore + 1n): BookedBalance => ({ tenantId, seqBefore, seqAfter, afterNano: 50n });

describe('CreditLevels', () => {
  let history: CountingHistory;
  let levels: CreditLevels;
  beforeEach(() => {
    history = new CountingHistory();
    levels = new CreditLevels(history);
  });

  it('asks nothing for batches that follow one another', async () => {
    await levels.measure(tx, [booked('a', 0n), booked('b', 7n)], NOW);
    for (let seq = 1n; seq < 20n; seq += 1n) {
      expect((await levels.measure(tx, [booked('a', seq)], NOW)).get('a')).toEqual({ credit: CREDIT, seenAll: true });
    }
    expect(history.asked).toEqual([['a', 'b']]);
  });

  it('asks once, for those alone whose money somebody else moved, and says that it did not see it', async () => {
    await levels.measure(tx, [booked('a', 0n), booked('b', 0n)], NOW);
    const measured = await levels.measure(tx, [booked('a', 1n), booked('b', 2n)], NOW);
    expect([measured.get('a')?.seenAll, measured.get('b')?.seenAll]).toEqual([true, false]);
    expect((await levels.measure(tx, [booked('b', 3n)], NOW)).get('b')?.seenAll).toBe(true);
    expect(history.asked).toEqual([['a', 'b'], ['b']]);
  });

  it('asks again after a batch that was rolled back, and after an hour', async () => {
    await levels.measure(tx, [booked('a', 0n)], NOW);
    await levels.measure(tx, [booked('a', 1n)], NOW);
    expect((await levels.measure(tx, [booked('a', 1n)], NOW)).get('a')?.seenAll).toBe(false);
    expect((await levels.measure(tx, [booked('a', 2n)], new Date(NOW.getTime() + 3_600_001))).get('a')?.seenAll).toBe(false);
    expect(history.asked).toHaveLength(3);
  });

  it('asks nothing where nothing was booked', async () => {
    expect((await levels.measure(tx, [], NOW)).size).toBe(0);
    expect(history.asked).toEqual([]);
  });
});
