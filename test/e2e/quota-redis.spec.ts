/** The scaled-out shape as processes of its own on one PostgreSQL and one Redis, and what is left when some of them are killed or stopped. */
import { Redis } from 'ioredis';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';

const TIMEOUT_MS = 240_000;
const ASKED = 500;
const FITS = 100;
const CREDIT_NANO = 1_000_000_000n;
const CALL_NANO = 10_000_000n;
const CALL = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01' };

const nano = (usd: unknown): bigint => BigInt(String(usd).replace('.', ''));

/** What callers were promised, by when each of them asked: a hold cannot run out before its TTL has passed since. */
class Promises {
  readonly askedAt: number[] = [];
  readonly above: string[] = [];
  refused = 0;

  constructor(private readonly ttlMs: number) {}

  async ask(program: Program): Promise<void> {
    const askedAt = performance.now();
    const answer = await program.call('POST', '/v1/authorize', CALL).catch(() => null);
    if (answer?.body?.decision === 'allow') this.askedAt.push(askedAt);
    else this.refused += 1;
  }

  /** Promises that are surely in force, with what is spent, never exceed what was credited: nobody reports, so neither is part of the other. */
  compare(spentNano: bigint, at: number): void {
    const inForce = BigInt(this.askedAt.filter((askedAt) => askedAt + this.ttlMs > at).length);
    if (spentNano + inForce * CALL_NANO > CREDIT_NANO) this.above.push(`${inForce} promises in force and ${spentNano} spent`);
  }
}

describeWithRedis('F21 the last dollar on three processes', () => {
  let redis: TestRedis;
  let database: TestDatabase;
  afterEach(async () => {
    await cleanUpPrograms();
    await database.close();
    await redis.close();
  }, TIMEOUT_MS);

  async function credit(program: Program, key: string): Promise<void> {
    const body = { amount_usd: '1', kind: 'paid' };
    const credited = await program.call('POST', '/v1/tenants/acme/credits', body, { 'idempotency-key': key });
    expect(credited.status).toBe(201);
  }

  /** What the ledger itself says is spent, read by whoever looks on. */
  async function spent(): Promise<bigint> {
    const [row] = await database.db.query<{ n: bigint }>(
      `SELECT coalesce(sum(receivable_nano - lots_nano), 0)::bigint AS n FROM ledger.tenant_balance WHERE tenant_id = 'acme'`,
    );
    return CREDIT_NANO + (row?.n ?? 0n);
  }

  /** Everything that money can be stuck in. */
  async function whereItIs(programs: readonly Program[]): Promise<string> {
    const admin = new Redis(redis.url);
    const [key] = await admin.keys('tollgate:q1:*:state');
    const state = key === undefined ? 'none' : JSON.stringify(await admin.hgetall(key));
    const holds = key === undefined ? 0 : await admin.hlen(key.replace(/state$/, 'holds'));
    const index = (await admin.keys('*ends-by-tenant')).map(async (name) => await admin.zrange(name, 0, -1, 'WITHSCORES'));
    const indexed = JSON.stringify(await Promise.all(index));
    admin.disconnect();
    const rows = await database.db.query(
      `SELECT kind, state, resolution, count(*)::int AS n, sum(amount_nano)::text AS nano, max(expires_at) AS last_end FROM quota.hold GROUP BY 1, 2, 3`,
    );
    const [counts] = await database.db.query(
      `SELECT (SELECT count(*)::int FROM metering.pending) AS pending, (SELECT json_agg(r) FROM quota.reserve r) AS reserve,
              (SELECT json_agg(n) FROM quota.store_node n) AS node`,
    );
    const balances = await Promise.all(
      programs.map(async (program) => JSON.stringify((await program.call('GET', '/v1/tenants/acme/balance').catch(String)) satisfies unknown)),
    );
    return [
      `Redis: ${state}, ${holds} holds, swept at ${indexed}`,
      `rows at ${new Date().toISOString()}: ${JSON.stringify(rows)}`,
      `PostgreSQL: ${JSON.stringify(counts, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`,
      ...balances,
      ...programs.map((program) => program.output().slice(-2_000)),
    ].join('\n');
  }

  it.each(['fast', 'strict'])(
    '%s: with one of them and Redis killed in the middle, never more is held than there is, and in the end all of it is given out',
    async (durability) => {
      redis = await startRedis();
      database = await openTestDatabase();
      const ttlSeconds = durability === 'fast' ? 12 : 900;
      const environment = {
        DATABASE_URL: database.url,
        REDIS_URL: redis.url,
        TOLLGATE_HOLD_TTL_SECONDS: String(ttlSeconds),
        TOLLGATE_REDIS_DEADLINE_MS: '2000',
      };
      const programs = await Promise.all([0, 1, 2].map(async () => await startStandalone({ environment })));
      const [one, two, three] = programs as [Program, Program, Program];
      const policy = { hold_durability: durability, on_store_failure: 'block', unresolved_policy: 'charge_hold' };
      expect((await one.call('PUT', '/v1/tenants/acme', policy)).status).toBeLessThan(300);
      await credit(one, 'first');
      const promises = new Promises(ttlSeconds * 1_000);
      const look = async (): Promise<void> => {
        const at = performance.now();
        promises.compare(await spent(), at);
      };
      const asked = Array.from({ length: ASKED }, async (_value, index) => {
        await promises.ask(programs[index % 3] as Program);
        if (index % 10 === 0) await look();
      });
      await asked[ASKED / 10];
      const ended = three.end('SIGKILL');
      await redis.kill?.();
      await redis.restart();
      await Promise.all([...asked, ended]);
      expect(promises.askedAt.length).toBeLessThanOrEqual(FITS);
      // What was given out is charged when it runs out (fast) or still held (strict): nothing may be left, nothing stuck.
      await eventually(
        'everything that is left is given out',
        async () => {
          await Promise.all(Array.from({ length: 20 }, async (_value, index) => await promises.ask(index % 2 === 0 ? one : two)));
          await look();
          const { body } = await two.call('GET', '/v1/tenants/acme/balance');
          return nano(body.available_usd) === 0n && (durability === 'strict' || nano(body.held_usd) === 0n);
        },
        TIMEOUT_MS / 2,
      ).catch(async (error: unknown) => {
        throw new Error(`${String(error)}\n${await whereItIs([one, two])}`);
      });
      expect(promises.above).toEqual([]);
      const { body } = await one.call('GET', '/v1/tenants/acme/balance');
      expect(nano(body.held_usd) + CREDIT_NANO - nano(body.posted_usd)).toBe(CREDIT_NANO);
      if (durability === 'strict') expect(promises.askedAt.length).toBeLessThanOrEqual(FITS);
      // Recovered: a process in the place of the dead one, another dollar, and every call of it that fits is allowed at once.
      const four = await startStandalone({ environment });
      await credit(two, 'second');
      await eventually('the dollar is known', async () => nano((await four.call('GET', '/v1/tenants/acme/balance')).body.available_usd) === CREDIT_NANO);
      const recovered = new Promises(ttlSeconds * 1_000);
      await Promise.all(Array.from({ length: ASKED }, async (_value, index) => await recovered.ask([one, two, four][index % 3] as Program)));
      expect([recovered.askedAt.length, recovered.refused]).toEqual([FITS, ASKED - FITS]);
    },
    TIMEOUT_MS,
  );
});

describeWithRedis('F22 a process that is stopped (SIGSTOP) with open holds', () => {
  const TTL_SECONDS = 6;
  let redis: TestRedis;
  let database: TestDatabase;
  let stopped: Program;
  afterEach(async () => {
    process.kill(stopped.pid, 'SIGCONT');
    await cleanUpPrograms();
    await database.close();
    await redis.close();
  }, TIMEOUT_MS);

  it(
    'does not keep their money: another charges them, gives out the rest, and what the stopped one answers when it wakes up is nothing twice',
    async () => {
      redis = await startRedis();
      database = await openTestDatabase();
      const environment = { DATABASE_URL: database.url, REDIS_URL: redis.url, TOLLGATE_HOLD_TTL_SECONDS: String(TTL_SECONDS) };
      stopped = await startStandalone({ environment });
      const awake = await startStandalone({ environment });
      const balance = async (): Promise<Record<string, string>> => (await awake.call('GET', '/v1/tenants/acme/balance')).body;
      await awake.call('PUT', '/v1/tenants/acme', { on_store_failure: 'block', unresolved_policy: 'charge_hold' });
      await awake.call('POST', '/v1/tenants/acme/credits', { amount_usd: '1', kind: 'paid' }, { 'idempotency-key': 'c' });
      await eventually('the credit is known', async () => nano((await balance())['available_usd']) === CREDIT_NANO);
      let told = 0;
      const ask = async (program: Program): Promise<boolean> => (await program.call('POST', '/v1/authorize', CALL)).body.decision === 'allow';
      const underWay = Array.from({ length: FITS / 2 }, async () => {
        const allowed = await ask(stopped);
        told += allowed ? 1 : 0;
        return allowed;
      });
      await Promise.race(underWay);
      process.kill(stopped.pid, 'SIGSTOP');
      const spent = async (): Promise<bigint> => CREDIT_NANO - nano((await balance())['posted_usd']);
      await eventually('its holds are charged by the other', async () => nano((await balance())['held_usd']) === 0n && (await spent()) > 0n, TIMEOUT_MS / 4);
      const charged = Number((await spent()) / CALL_NANO);
      const left = FITS - charged;
      const given = await Promise.all(Array.from({ length: FITS }, async () => await ask(awake)));
      expect(given.filter(Boolean)).toHaveLength(left);
      await eventually('all of it is spent', async () => (await spent()) === CREDIT_NANO, TIMEOUT_MS / 4);
      process.kill(stopped.pid, 'SIGCONT');
      await Promise.all(underWay);
      // Whatever it says now was decided before it was stopped and has been charged since; there is nothing left that it could promise anew.
      expect(told).toBeLessThanOrEqual(charged);
      await eventually('it answers', async () => (await stopped.call('GET', '/v1/tenants/acme/balance')).body.available_usd === '0.000000000', TIMEOUT_MS / 4);
      expect(await balance()).toMatchObject({ posted_usd: '0.000000000', held_usd: '0.000000000' });
    },
    TIMEOUT_MS,
  );
});
