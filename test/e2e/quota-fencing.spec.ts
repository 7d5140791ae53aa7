/** Memory mode: one process promises, and one that lost the right to knows it before it promises again. */
import pg from 'pg';
import { eventually } from '../support/eventually.js';
import { cleanUpPrograms, embeddedPostgresOf, runStandalone, startStandalone, type Program } from '../support/standalone.js';

const TIMEOUT_MS = 120_000;
const HOLD = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o' };

describe('H6 two servers on one database without Redis', () => {
  afterEach(cleanUpPrograms, TIMEOUT_MS);

  const ask = async (program: Program, costUsd: string): Promise<any> =>
    (await program.call('POST', '/v1/authorize', { ...HOLD, estimated_cost_usd: costUsd })).body;

  async function withAcme(): Promise<{ program: Program; databaseUrl: string }> {
    const program = await startStandalone();
    await program.call('PUT', '/v1/tenants/acme', { hold_durability: 'strict' });
    await program.call('POST', '/v1/tenants/acme/credits', { amount_usd: '1', kind: 'paid' });
    return { program, databaseUrl: embeddedPostgresOf(program.dataDir).url };
  }

  async function endLockSession(databaseUrl: string): Promise<void> {
    const admin = new pg.Client({ connectionString: databaseUrl });
    await admin.connect();
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tollgate-process-lock'`,
    );
    await admin.end();
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
