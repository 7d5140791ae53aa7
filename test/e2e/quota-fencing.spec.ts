/**
 * Memory mode: one process promises, and one that lost the right to knows it before it promises again (F22, done-when 4).
 * A pause of 30 s is played by one just longer than three: that is how long a proof of the right counts, on a clock that runs on while the
 * process is stopped. Below that what it might promise is under a ceiling that the next process fences; above it the length is without effect.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { buildCrashTree } from '../support/crash-lane.js';
import { openTestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { cleanUpPrograms, embeddedPostgresOf, makeDataDir, runStandalone, startStandalone, type Program } from '../support/standalone.js';

const TIMEOUT_MS = 120_000;
/** As in apps/standalone/src/lock-fence.ts. */
const PROVEN_WITHIN_MS = 3_000;
const HOLD = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o' };

describe('H6 two servers on one database without Redis', () => {
  afterEach(cleanUpPrograms, TIMEOUT_MS);

  const ask = async (program: Program, costUsd: string, tenantId = 'acme'): Promise<any> =>
    (await program.call('POST', '/v1/authorize', { ...HOLD, tenant_id: tenantId, estimated_cost_usd: costUsd })).body;
  const postedOf = async (program: Program): Promise<string> => (await program.call('GET', '/v1/tenants/acme/balance')).body.posted_usd;
  const report = async (program: Program): Promise<void> => {
    const event = { event_id: 'e', tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', usage: { output_tokens: 1_000 } };
    expect((await program.call('POST', '/v1/events', event)).status).toBe(202);
  };

  async function setUp(program: Program, tenantId = 'acme', durability = 'strict'): Promise<void> {
    await program.call('PUT', `/v1/tenants/${tenantId}`, { hold_durability: durability });
    await program.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: '1', kind: 'paid' });
  }

  async function withAcme(): Promise<{ program: Program; databaseUrl: string }> {
    const program = await startStandalone();
    await setUp(program);
    return { program, databaseUrl: embeddedPostgresOf(program.dataDir).url };
  }

  async function asAdmin<Row>(databaseUrl: string, sql: string): Promise<Row[]> {
    const admin = new pg.Client({ connectionString: databaseUrl });
    await admin.connect();
    const { rows } = await admin.query(sql);
    await admin.end();
    return rows as Row[];
  }

  async function endLockSession(databaseUrl: string): Promise<void> {
    await asAdmin(
      databaseUrl,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tollgate-process-lock'`,
    );
  }

  /** Stops the process and ends the session that has its lock. */
  async function pause(program: Program, databaseUrl: string): Promise<{ longEnough: () => Promise<void> }> {
    process.kill(program.pid, 'SIGSTOP');
    const stoppedAtMs = performance.now();
    await endLockSession(databaseUrl);
    return { longEnough: async () => await eventually('the proof is too old', () => performance.now() - stoppedAtMs > PROVEN_WITHIN_MS) };
  }

  it(
    'the second refuses to start; one that was paused while another had the lock allows nothing until it has rebuilt',
    async () => {
      const { program: first, databaseUrl } = await withAcme();
      await eventually('the credit is there', async () => (await ask(first, '0.30')).decision === 'allow');
      const refused = await runStandalone({ environment: { DATABASE_URL: databaseUrl } });
      expect([refused.code, /another Tollgate process already works on this database/.test(refused.output)]).toEqual([1, true]);

      process.kill(first.pid, 'SIGSTOP');
      await endLockSession(databaseUrl);
      const second = await startStandalone({ environment: { DATABASE_URL: databaseUrl } });
      expect((await second.call('GET', '/v1/tenants/acme/balance')).body.held_usd).toBe('0.300000000');
      expect((await ask(second, '0.60')).decision).toBe('allow');
      // What waits in the first one's sockets is answered from the moment it wakes up.
      const waiting = Array.from({ length: 20 }, async () => await ask(first, '0.50'));
      await second.end('SIGKILL');
      process.kill(first.pid, 'SIGCONT');
      const decisions = (await Promise.all(waiting)).map((answer) => answer.decision);
      expect(decisions).toEqual(decisions.map(() => 'block'));
      await eventually('the first has rebuilt', async () => {
        const answer = await ask(first, '0.50');
        expect(answer.decision).toBe('block');
        return answer.degraded === false && answer.reason.code === 'in_flight_exhausted';
      });
      expect((await first.call('GET', '/v1/tenants/acme/balance')).body).toMatchObject({ held_usd: '0.900000000', available_usd: '0.100000000' });
      expect((await ask(first, '0.10')).decision).toBe('allow');
    },
    TIMEOUT_MS,
  );

  it(
    'one that wakes up while another has the lock allows nothing and posts nothing',
    async () => {
      const { program: first, databaseUrl } = await withAcme();
      await setUp(first, 'fast', 'fast');
      for (const tenantId of ['acme', 'fast']) expect((await ask(first, '0.001', tenantId)).decision).toBe('allow');
      const paused = await pause(first, databaseUrl);
      const second = await startStandalone({ environment: { DATABASE_URL: databaseUrl } });
      await paused.longEnough();
      const waiting = Array.from({ length: 20 }, async (_, index) => await ask(first, '0.001', index % 2 === 0 ? 'acme' : 'fast'));
      process.kill(first.pid, 'SIGCONT');
      const answers = await Promise.all(waiting);
      expect(answers.filter((answer) => answer.decision !== 'block' || answer.reason.code !== 'store_unavailable')).toEqual([]);

      // Nobody but the first could post now: the second is stopped, and its session still has the lock.
      process.kill(second.pid, 'SIGSTOP');
      await report(first);
      await eventually('the first has tried to post', () =>
        /posting failed.*quota\.(fenced|stale_epoch)|quota\.(fenced|stale_epoch).*posting failed/.test(first.output()),
      );
      expect(await asAdmin(databaseUrl, 'SELECT event_id FROM metering.posting')).toEqual([]);
      expect((await ask(first, '0.001', 'fast')).degraded).toBe(true);
      process.kill(second.pid, 'SIGCONT');
      await eventually('the second has posted it', async () => (await postedOf(second)) === '0.990000000');
      expect(await asAdmin(databaseUrl, 'SELECT event_id FROM metering.posting')).toHaveLength(1);
      expect((await ask(first, '0.001', 'fast')).degraded).toBe(true);
      expect((await second.call('GET', '/v1/ledger/check')).body).toMatchObject({ drift: [] });
    },
    TIMEOUT_MS,
  );

  it(
    'one that was paused alone and lost its lock allows nothing from memory: it takes a new epoch and rebuilds first',
    async () => {
      const { program, databaseUrl } = await withAcme();
      await setUp(program, 'fast', 'fast');
      expect((await ask(program, '0.001', 'fast')).decision).toBe('allow');
      const epochs = async (): Promise<any> =>
        (
          await asAdmin(
            databaseUrl,
            `SELECT epoch::int AS now, (SELECT r.epoch::int FROM quota.reserve r WHERE tenant_id = 'fast') AS loaded_in FROM quota.epoch`,
          )
        )[0];
      const before = await epochs();
      const paused = await pause(program, databaseUrl);
      await paused.longEnough();
      const waiting = Array.from({ length: 20 }, async () => await ask(program, '0.001', 'fast'));
      process.kill(program.pid, 'SIGCONT');
      for (const answer of await Promise.all(waiting)) {
        if (answer.decision === 'allow') expect((await epochs()).loaded_in).toBeGreaterThan(before.loaded_in);
        else expect(answer).toMatchObject({ decision: 'block', reason: { code: 'store_unavailable' }, degraded: true });
      }
      await eventually('it promises again', async () => (await ask(program, '0.001', 'fast')).decision === 'allow');
      expect(await epochs()).toEqual({ now: before.now + 1, loaded_in: before.now + 1 });
    },
    TIMEOUT_MS,
  );

  it(
    'one that was paused in the middle of a posting keeps no other from taking over, and its posting does not count',
    async () => {
      const tree = buildCrashTree();
      const database = await openTestDatabase();
      const environment = { DATABASE_URL: database.url };
      const first = await startStandalone({ root: tree.folder, environment, channel: true });
      await setUp(first);
      expect((await ask(first, '0.30')).decision).toBe('allow');
      const file = join(makeDataDir(), 'paused.json');
      // It has shown its epoch, and holds it still until its transaction ends.
      const mark = 'after libs/quota/postgres/quota-participant.ts QuotaParticipant.onPosted#1';
      await first.tell({ mode: 'armed', target: { mark, file, signal: 'SIGSTOP' } });
      await report(first);
      await eventually('it has stopped in its posting', () => existsSync(file));
      await endLockSession(database.url);
      const second = await startStandalone({ environment });
      await eventually('the second has posted the event', async () => (await postedOf(second)) === '0.990000000', 60_000);
      await eventually('the second promises', async () => (await ask(second, '0.60')).decision === 'allow', 60_000);
      process.kill(first.pid, 'SIGCONT');
      expect(await ask(first, '0.05')).toMatchObject({ decision: 'block', degraded: true });
      expect((await second.call('GET', '/v1/tenants/acme/balance')).body).toMatchObject({ posted_usd: '0.990000000', held_usd: '0.900000000' });
      expect(await asAdmin(database.url, 'SELECT event_id FROM metering.posting')).toHaveLength(1);
      expect((await second.call('GET', '/v1/ledger/check')).body).toMatchObject({ drift: [] });
      await cleanUpPrograms();
      await database.close();
      tree.remove();
    },
    TIMEOUT_MS,
  );

  it(
    'a booking reaches authorize by itself, and a killed process comes back with its strict holds',
    async () => {
      const { program } = await withAcme();
      await eventually('the credit is there', async () => (await ask(program, '0.30')).decision === 'allow');
      const dataDir = program.dataDir;
      await program.end('SIGKILL');
      const again = await startStandalone({ dataDir });
      expect((await again.call('GET', '/v1/tenants/acme/balance')).body).toMatchObject({ held_usd: '0.300000000', available_usd: '0.700000000' });
      const { hold } = await ask(again, '0.60');
      await again.call('POST', `/v1/holds/${hold.hold_id}/settle`, { cost_usd: '0.05' });
      await eventually('the settle is booked and the rest given back', async () => (await ask(again, '0.65')).decision === 'allow');
    },
    TIMEOUT_MS,
  );
});
