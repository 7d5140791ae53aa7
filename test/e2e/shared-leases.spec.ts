/**
 * Limits that all tenants share, with processes of their own: one that is stopped between a grant and its telling, and one that dies with grants
 * in its memory. What was taken back meanwhile stays with whom it was given to.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildCrashTree } from '../support/crash-lane.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis } from '../support/redis.js';
import { cleanUpPrograms, makeDataDir, startStandalone, type Program } from '../support/standalone.js';

const TIMEOUT_MS = 240_000;
const CALL = { provider: 'openai', model: 'gpt-4o' };

async function setUp(program: Program, tenantIds: readonly string[]): Promise<void> {
  for (const tenantId of tenantIds) {
    const settings = { billing: 'postpaid', hold_durability: 'strict', on_store_failure: 'block', unresolved_policy: 'release' };
    expect((await program.call('PUT', `/v1/tenants/${tenantId}`, settings)).status).toBeLessThan(300);
  }
  const made = await program.call('PUT', '/v1/budgets/all', { period: 'total', limit_usd: '1.00', thresholds: [] });
  expect(made.status).toBe(201);
}

async function ask(program: Program, tenantId: string, costUsd: string): Promise<any> {
  return (await program.call('POST', '/v1/authorize', { ...CALL, tenant_id: tenantId, estimated_cost_usd: costUsd })).body;
}

interface LeaseRow {
  readonly tenant_id: string;
  readonly granted: bigint;
  readonly fenced: bigint;
}

async function leasesOf(database: TestDatabase): Promise<LeaseRow[]> {
  return await database.db.query<LeaseRow>('SELECT tenant_id, granted, fenced FROM quota.lease ORDER BY tenant_id');
}

describeWithRedis('F22 a process that is stopped with a grant it has not told of', () => {
  afterEach(cleanUpPrograms, TIMEOUT_MS);

  it(
    'spends nothing of it when it wakes up after another tenant was given it',
    async () => {
      const redis = await startRedis();
      const database = await openTestDatabase();
      const tree = buildCrashTree();
      const environment = { DATABASE_URL: database.url, REDIS_URL: redis.url, TOLLGATE_REDIS_DEADLINE_MS: '2000' };
      const stopped = await startStandalone({ root: tree.folder, environment, channel: true });
      const other = await startStandalone({ environment });
      await setUp(stopped, ['one', 'two']);
      await eventually('both know the budget', async () => (await ask(other, 'two', '1.01')).decision === 'block');

      const file = join(makeDataDir(), 'stopped.json');
      await stopped.tell({ mode: 'armed', target: { mark: 'after libs/quota/application/lease-desk.ts LeaseDesk.settle#1', file, signal: 'SIGSTOP' } });
      const waiting = ask(stopped, 'one', '0.40').catch(() => ({ decision: 'none' }));
      await eventually('it has stopped with its grant', () => existsSync(file));
      expect((await leasesOf(database)).find((row) => row.tenant_id === 'one')?.granted).toBeGreaterThanOrEqual(400_000_000n);

      await eventually('all of the limit is given to the other tenant', async () => (await ask(other, 'two', '1.00')).decision === 'allow');
      process.kill(stopped.pid, 'SIGCONT');
      expect((await waiting).decision).not.toBe('allow');
      for (const program of [stopped, other]) expect((await ask(program, 'one', '0.01')).decision).toBe('block');
      expect((await leasesOf(database)).map((row) => [row.tenant_id, row.granted])).toEqual([
        ['one', 0n],
        ['two', 1_000_000_000n],
      ]);
      await cleanUpPrograms();
      await database.close();
      await redis.close();
      tree.remove();
    },
    TIMEOUT_MS,
  );
});

describe('F23 a process that dies with grants in its memory', () => {
  afterEach(cleanUpPrograms, TIMEOUT_MS);

  it(
    'strands what it may have promised until its time is over; then it is given out once',
    async () => {
      const database = await openTestDatabase();
      const environment = { DATABASE_URL: database.url, TOLLGATE_HOLD_TTL_SECONDS: '8' };
      const first = await startStandalone({ environment });
      await setUp(first, ['one', 'two']);
      await eventually('it decides by the budget', async () => (await ask(first, 'two', '1.01')).decision === 'block');
      expect((await ask(first, 'one', '0.01')).decision).toBe('allow');
      const [before] = await leasesOf(database);
      expect(before?.granted).toBeGreaterThan(10_000_000n);
      await first.end('SIGKILL');

      const second = await startStandalone({ environment });
      // Its load finds what the first one may have promised beyond its rows.
      await eventually('the tenant is loaded', async () => (await ask(second, 'one', '2.00')).reason.code === 'too_large');
      const [loaded] = await leasesOf(database);
      expect(loaded?.fenced).toBe((before?.granted ?? 0n) - 10_000_000n);
      await eventually('all of it is given out', async () => (await ask(second, 'two', '1.00')).decision === 'allow', TIMEOUT_MS / 4);
      for (const tenantId of ['one', 'two']) expect((await ask(second, tenantId, '0.01')).decision).toBe('block');
      expect((await leasesOf(database)).map((row) => [row.tenant_id, row.granted])).toEqual([
        ['one', 0n],
        ['two', 1_000_000_000n],
      ]);
      await cleanUpPrograms();
      await database.close();
    },
    TIMEOUT_MS,
  );
});
