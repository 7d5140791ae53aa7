/**
 * The Redis scripts of a promise and of its booking, each in one round trip through ioredis, judged by the wallet and four limits, against a
 * script that does nothing. One connection per caller, 1,000 tenants, every promise settled by the next call. Counted are scripts, two a call.
 */
import { Redis } from 'ioredis';
import { newUuid, SystemClock } from '#libs/kernel/index.js';
import { Database } from '#libs/platform/postgres/database.js';
import { bookedCall, openQuotaRedis, reserveCall, type ScriptCall } from '#libs/quota/index.js';
import { BenchDatabase } from './harness/bench-database.js';
import { BenchRedis } from './harness/bench-redis.js';
import { probe } from './harness/probes.js';
import { publish, rounds } from './harness/report.js';
import type { BenchOptions } from './harness/session.js';
import { claimsOf, commandOf, COST_NANO, snapshotOf, TOKENS } from './payloads/quota-calls.js';
import { benchTenant } from './payloads/template.js';

const CALLERS = 32;
const TENANTS = 1_000;
const DEADLINE_MS = 10_000;
const NOTHING = 'return 1';

type Work = (redis: Redis, turn: Turn) => Promise<number>;

interface Turn {
  readonly tenantId: string;
  /** Of this tenant, from one on. */
  readonly seq: bigint;
}

export async function reserveScript(options: BenchOptions): Promise<void> {
  const database = await BenchDatabase.start();
  const server = await BenchRedis.start();
  const db = new Database({ connectionString: database.subjectUrl, maxConnections: 2, role: null, applicationName: 'bench-scripts' });
  const clock = new SystemClock();
  const quota = openQuotaRedis({
    target: { urls: [server.url], cluster: false },
    database: db,
    clock,
    deadlineMs: DEADLINE_MS,
    report: (message) => process.stderr.write(`${message}\n`),
  });
  const connections = Array.from({ length: CALLERS }, () => new Redis(server.url, { noDelay: true }));
  try {
    await quota.ready(DEADLINE_MS);
    await quota.store.load(
      Array.from({ length: TENANTS }, (_value, index) => snapshotOf(benchTenant(index))),
      clock.now().getTime(),
    );
    const epoch = quota.fence.current() ?? 0n;
    const pair = pairOf(epoch, () => clock.now().getTime());
    const bookings = new Map<string, bigint>();
    const nothing = await connections[0]?.script('LOAD', NOTHING);
    const trivial: Work = async (redis, { tenantId }) => {
      await redis.evalsha(String(nothing), 1, tenantId);
      return 1;
    };
    await run(connections, 2_000, pair, bookings);
    const measured = await rounds(options.rounds, async () => {
      const probes = await probe(database.subjectUrl, database.directory);
      const subject = await run(connections, options.seconds * 1_000, pair, bookings);
      const yardstick = await run(connections, options.seconds * 1_000, trivial, new Map());
      return { probes, subject, yardstick, beside: { 'calls/s': subject / 2 } };
    });
    await assertNothingHeld(quota.store);
    const setting = { callers: CALLERS, tenants: TENANTS, limits: 'wallet and 4', 'seconds a round': options.seconds };
    publish({ name: 'reserve-script', unit: 'scripts', yardstickName: 'trivial EVALSHA', firstBar: 0.35, moonshot: 0.6, setting, rounds: measured });
  } finally {
    for (const connection of connections) connection.disconnect();
    quota.close();
    await db.close();
    await server.stop();
    await database.stop();
  }
}

/** Scripts a second, of callers that each wait for one answer before the next call. */
async function run(connections: readonly Redis[], durationMs: number, work: Work, bookings: Map<string, bigint>): Promise<number> {
  const startedAt = performance.now();
  const counts = await Promise.all(
    connections.map(async (redis, caller) => {
      let scripts = 0;
      // Each caller has tenants of its own, because the bookings of one are numbered.
      for (let index = caller; performance.now() - startedAt < durationMs; index = index + CALLERS < TENANTS ? index + CALLERS : caller) {
        const tenantId = benchTenant(index);
        const seq = (bookings.get(tenantId) ?? 0n) + 1n;
        bookings.set(tenantId, seq);
        scripts += await work(redis, { tenantId, seq });
      }
      return scripts;
    }),
  );
  return (counts.reduce((sum, count) => sum + count, 0) * 1_000) / (performance.now() - startedAt);
}

function pairOf(epoch: bigint, nowMs: () => number): Work {
  return async (redis, { tenantId, seq }) => {
    const now = nowMs();
    const holdId = newUuid(new Date(now));
    const claims = claimsOf(now);
    const [kind] = (await send(redis, reserveCall(commandOf(tenantId, holdId, claims, now), epoch))) as [string];
    if (kind !== 'held') throw new Error(`a call that fits was answered ${kind}`);
    const capture = { holdId, callDigest: null, signedNano: COST_NANO, signedTokens: TOKENS, signedRequests: 1n, closes: true, provisional: false };
    const counters = claims.flatMap(({ counter, window, amount }) => (window.kind === 'concurrent' ? [] : [{ counter, window, atMs: now, amount }]));
    const ended = (await send(redis, bookedCall({ tenantId, seq, captures: [capture], counters }, now, epoch))) as unknown[];
    if (ended.length !== 1) throw new Error('a booking did not end its hold');
    return 2;
  };
}

async function send(redis: Redis, { script, keys, args }: ScriptCall): Promise<unknown> {
  try {
    return await redis.evalsha(script.sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!String(error).includes('NOSCRIPT')) throw error;
    return await redis.eval(script.text, keys.length, ...keys, ...args);
  }
}

type Store = ReturnType<typeof openQuotaRedis>['store'];

/** A bench that left money held has measured something else. @throws Error */
async function assertNothingHeld(store: Store): Promise<void> {
  for (let index = 0; index < TENANTS; index += 1) {
    const wallet = await store.wallet(benchTenant(index));
    if (wallet === 'unknown' || wallet.heldNano !== 0n)
      throw new Error(`${benchTenant(index)} is left with ${wallet === 'unknown' ? wallet : wallet.heldNano}`);
  }
}
