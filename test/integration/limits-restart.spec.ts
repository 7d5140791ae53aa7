import { StopPromising, WarmBudgets } from '#libs/quota/index.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { settleEverything } from '../support/posting.js';

const MINUTE_MS = 60_000;

describe('limits across restarts', () => {
  let database: TestDatabase;
  let first: TestApi;
  beforeEach(async () => {
    database = await openTestDatabase();
    first = await startTestApi({ database });
    await first.call('PUT', '/v1/tenants/acme', { body: {} });
    await first.call('POST', '/v1/tenants/acme/credits', { body: { amount_usd: '1000', kind: 'paid' }, headers: { 'idempotency-key': 'c' } });
    await settleEverything(first.app);
  });
  afterEach(async () => {
    await first.close();
    await database.close();
  });

  const put = async (budgetId: string, body: object): Promise<any> => (await first.call('PUT', `/v1/tenants/acme/budgets/${budgetId}`, { body })).body;
  const askAt = async (api: TestApi, costUsd: string, more: object = {}): Promise<any> =>
    (await api.call('POST', '/v1/authorize', { body: { tenant_id: 'acme', model: 'gpt-4o', provider: 'openai', estimated_cost_usd: costUsd, ...more } })).body;
  const report = async (api: TestApi, eventId: string, more: object): Promise<void> => {
    await api.call('POST', '/v1/events', { body: { event_id: eventId, tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', ...more } });
    await settleEverything(api.app);
  };
  const rowsOf = async (): Promise<number> => (await database.db.query('SELECT FROM quota.hold')).length;

  it('H6 whatever a crash loses, no limit is passed: an eighth of each is kept back for one TTL, and no more than that is promised without a row', async () => {
    await put('day', { period: 'day', limit_usd: '8.00' });
    const allowed = [];
    for (let call = 0; call < 10; call += 1) allowed.push(await askAt(first, '0.10'));
    expect(allowed.map((answer) => answer.decision)).toEqual(Array(10).fill('allow'));
    expect(await rowsOf()).toBe(0);
    // One more, and more than an eighth would have no row: it is committed first, with all the others.
    await askAt(first, '0.10');
    expect(await rowsOf()).toBe(11);
    for (let call = 0; call < 9; call += 1) await askAt(first, '0.10');
    expect(await rowsOf()).toBe(11);

    const second = await startTestApi({ database, clock: first.clock });
    const late = await askAt(second, '6.00');
    expect(late).toMatchObject({ decision: 'block', reason: { code: 'in_flight_exhausted', budget_id: 'day' } });
    // 20 calls of 0.10 run, 11 of them are known: 8.00 - 1.00 - 1.10 is what may still be promised.
    expect((await askAt(second, '5.91')).decision).toBe('block');
    expect((await askAt(second, '5.90')).decision).toBe('allow');
    first.clock.advance(15 * MINUTE_MS);
    expect((await askAt(second, '1.00')).decision).toBe('allow');
    await second.close();
  });

  it('a process that ended in order keeps nothing back', async () => {
    await put('day', { period: 'day', limit_usd: '8.00' });
    for (let call = 0; call < 5; call += 1) await askAt(first, '0.10');
    await first.app.get(StopPromising).execute();
    const second = await startTestApi({ database, clock: first.clock });
    expect((await askAt(second, '7.51')).decision).toBe('block');
    expect((await askAt(second, '7.50')).decision).toBe('allow');
    await second.close();
  });

  it('a limit too small for an eighth of it to hold a call has every call committed before it is promised', async () => {
    await put('five', { period: 'day', limit_requests: 5 });
    for (let call = 1; call <= 5; call += 1) {
      expect((await askAt(first, '0.01')).decision).toBe('allow');
      expect(await rowsOf()).toBe(call);
    }
    const second = await startTestApi({ database, clock: first.clock });
    expect((await askAt(second, '0.01')).decision).toBe('block');
    await second.close();
  });

  it('what is booked while counters are back-filled counts once: with the sums or put aside, never in both', async () => {
    await askAt(first, '0.01');
    const usage = { input_tokens: 400_000, output_tokens: 0 };
    await report(first, 'before', { usage });
    await put('day', { per: ['user_id'], period: 'day', limit_usd: '10' });
    await report(first, 'known', { usage, user_id: 'u' });
    // As if the back-fill had only begun: the budget is not exact, and refuses nothing.
    await database.db.execute('UPDATE quota.budget SET warming = true');
    await database.db.execute('DELETE FROM quota.counter');
    await database.db.execute('UPDATE quota.rules_change SET revision = revision + 1; UPDATE quota.rules_revision SET revision = revision + 1');
    await report(first, 'meanwhile', { usage, user_id: 'u' });
    expect(await database.db.query('SELECT used_nano FROM quota.warming_delta')).toEqual([{ used_nano: 1_000_000_000n }]);
    expect((await askAt(first, '11', { user_id: 'u' })).decision).toBe('allow');
    expect(await first.app.get(WarmBudgets).execute()).toBe(1);
    expect(await database.db.query('SELECT used_nano, used_requests FROM quota.counter')).toEqual([{ used_nano: 2_000_000_000n, used_requests: 2n }]);
    expect(await database.db.query('SELECT FROM quota.warming_delta')).toEqual([]);
    expect((await askAt(first, '0.01', { user_id: 'u' })).decision).toBe('block');
  });

  it('the value that comes after 10,000 others shares a counter with those that follow, in every process', async () => {
    await askAt(first, '0.01');
    await put('user', { per: ['user_id'], period: 'day', limit_usd: '1.00' });
    await report(first, 'one', { usage: { input_tokens: 40_000 }, user_id: 'known' });
    await database.db.execute(
      `INSERT INTO quota.counter_value (tenant_id, budget_key, slot_ms, value_key, "values")
       SELECT tenant_id, budget_key, slot_ms, 'made-' || n, '{}' FROM quota.counter_value, generate_series(1, 9998) n`,
    );
    await report(first, 'two', { usage: { input_tokens: 40_000 }, user_id: 'last' });
    for (const user of ['late', 'later']) expect((await askAt(first, '0.50', { user_id: user })).decision).toBe('allow');
    expect((await askAt(first, '0.50', { user_id: 'latest' })).decision).toBe('block');
    for (const user of ['known', 'last']) expect((await askAt(first, '0.90', { user_id: user })).decision).toBe('allow');
    await report(first, 'three', { usage: { input_tokens: 40_000 }, user_id: 'late' });
    const rows = await database.db.query<{ value_key: string }>('SELECT value_key FROM quota.counter');
    expect(rows.map((row) => row.value_key)).toContain('other');
  });
});
