/** The scaled-out shape as processes of its own: three on one PostgreSQL and one Redis, and what is left when some of them are killed. */
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';

const TIMEOUT_MS = 240_000;
const ASKED = 500;
const CALL = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01' };

describeWithRedis('F21 the last dollar on three processes', () => {
  let redis: TestRedis;
  let database: TestDatabase;
  afterEach(async () => {
    await cleanUpPrograms();
    await database.close();
    await redis.close();
  }, TIMEOUT_MS);

  it.each(['fast', 'strict'])(
    '%s: with one of them and Redis killed in the middle, never more is held than there is, and in the end all of it is given out',
    async (durability) => {
      redis = await startRedis();
      database = await openTestDatabase();
      const environment = {
        DATABASE_URL: database.url,
        REDIS_URL: redis.url,
        TOLLGATE_HOLD_TTL_SECONDS: durability === 'fast' ? '12' : '900',
        TOLLGATE_REDIS_DEADLINE_MS: '2000',
      };
      const programs = await Promise.all([0, 1, 2].map(async () => await startStandalone({ environment })));
      const [one, two, three] = programs as [Program, Program, Program];
      await one.call('PUT', '/v1/tenants/acme', { hold_durability: durability, on_store_failure: 'block', unresolved_policy: 'charge_hold' });
      const credited = await fetch(`${one.url}/v1/tenants/acme/credits`, {
        method: 'POST',
        headers: { authorization: 'Bearer an-admin-key-for-tests-only', 'content-type': 'application/json', 'idempotency-key': 'c' },
        body: JSON.stringify({ amount_usd: '1', kind: 'paid' }),
      });
      expect(credited.status).toBe(201);
      let allowed = 0;
      const ask = async (program: Program): Promise<void> => {
        const answer = await program.call('POST', '/v1/authorize', CALL).catch(() => null);
        if (answer?.body?.decision === 'allow') allowed += 1;
      };
      const asked = Array.from({ length: ASKED }, async (_value, index) => await ask(programs[index % 3] as Program));
      await asked[ASKED / 10];
      const ended = three.end('SIGKILL');
      await redis.kill?.();
      await redis.restart();
      await Promise.all([...asked, ended]);
      expect(allowed).toBeLessThanOrEqual(100);
      const nano = (usd: unknown): bigint => BigInt(String(usd).replace('.', ''));
      // What was given out is charged when it runs out (fast) or still held (strict): nothing but the last cent's remainder may be left.
      await eventually(
        'everything that is left is given out',
        async () => {
          await Promise.all(Array.from({ length: 20 }, async (_value, index) => await ask(index % 2 === 0 ? one : two)));
          const { body } = await two.call('GET', '/v1/tenants/acme/balance');
          // Between a charge and its relay, money counts as spent and held, so only what is spent is looked at here.
          expect(nano(body.posted_usd)).toBeGreaterThanOrEqual(0n);
          return nano(body.available_usd) === 0n && (durability === 'strict' || nano(body.held_usd) === 0n);
        },
        TIMEOUT_MS / 2,
      );
      const { body } = await one.call('GET', '/v1/tenants/acme/balance');
      expect(nano(body.held_usd) + 1_000_000_000n - nano(body.posted_usd)).toBe(1_000_000_000n);
      // A fast promise that both lost was fenced for one TTL; its call reported nothing, so its cent was given out again.
      if (durability === 'strict') expect(allowed).toBeLessThanOrEqual(100);
    },
    TIMEOUT_MS,
  );
});
