import { FixedClock } from '../../kernel/testing/fixed-clock.js';
import type { SpendMovement, TenantBalances } from '#libs/metering/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import type { RecentCredit } from '../domain/balance-level.js';
import { NoteAlerts } from './note-alerts.js';
import { CreditHistory } from './ports.js';
import { WatchSpend } from './watch-spend.js';

class FlakyHistory extends CreditHistory {
  away = false;

  override async recent(_sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, RecentCredit>> {
    if (this.away) throw new Error('the history is away');
    return await Promise.resolve(new Map(tenantIds.map((tenantId) => [tenantId, { grantedNano: 100n, newestLotId: null }])));
  }
}

/** Keeps what was appended to the outbox. */
class NotingSql implements Sql {
  readonly noted: string[] = [];
  readonly statements: string[] = [];

  query = async <Row extends object>(): Promise<Row[]> => await Promise.resolve([]);

  execute = async (statement: Parameters<Sql['execute']>[0], params: readonly unknown[] = []): Promise<number> => {
    this.statements.push(typeof statement === 'string' ? statement : statement.name);
    for (const [, kind] of (JSON.stringify(params) ?? '').matchAll(/kind[\\":]+([a-z.]+)/g)) this.noted.push(kind ?? '');
    return await Promise.resolve(1);
  };

  copy = async (): Promise<number> => await Promise.resolve(0);
}

const TENANT = { billing: 'prepaid', creditLimitNano: 0n };
const directory = { findManyInside: async (_tx: unknown, ids: readonly string[]) => await Promise.resolve(new Map(ids.map((id) => [id, TENANT]))) };

describe('WatchSpend', () => {
  const movement = (tenantSeq: bigint, chargeNano: bigint): SpendMovement =>
    ({ tenantId: 'acme', tenantSeq, sign: 1, chargeNano, provisional: false }) as SpendMovement;
  const balance = (seq: bigint, lotsNano: bigint): TenantBalances => new Map([['acme', { tenantId: 'acme', seq, lotsNano, receivableNano: 0n }]]);
  let history: FlakyHistory;
  let watch: WatchSpend;
  let sql: NotingSql;
  const errors: unknown[] = [];
  beforeEach(() => {
    history = new FlakyHistory();
    sql = new NotingSql();
    watch = new WatchSpend(new NoteAlerts((error) => void errors.push(error)), directory as unknown as TenantDirectory, history, new FixedClock());
  });

  it('costs an ordinary batch no statement', async () => {
    await watch.onPosted(sql, [movement(1n, 1n)], balance(1n, 90n));
    await watch.onPosted(sql, [movement(2n, 1n)], balance(2n, 89n));
    expect(sql.statements).toEqual([]);
  });

  it('a line that was crossed while the history was away fails no booking and is told at the next one', async () => {
    await watch.onPosted(sql, [movement(1n, 10n)], balance(1n, 90n));
    history.away = true;
    // Somebody else booked in between, so it has to ask.
    await watch.onPosted(sql, [movement(3n, 80n)], balance(3n, 10n));
    expect(errors).toEqual([new Error('the history is away')]);
    history.away = false;
    await watch.onPosted(sql, [movement(4n, 1n)], balance(4n, 9n));
    expect(sql.noted).toEqual(['balance.low']);
  });
});
