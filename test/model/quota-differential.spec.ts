/**
 * H10: both stores are given the same random commands; every answer and, after each command, the whole state are compared. What memory answers
 * is compared with a naive model elsewhere, so a difference here is a mistake of one of the two.
 * More histories: QUOTA_HISTORIES=10000 npx jest --selectProjects services --testPathPatterns quota-differential
 */
import fc from 'fast-check';
import { Redis } from 'ioredis';
import type { QuotaStore } from '../../libs/quota/application/quota-store.js';
import { openMemoryStore, openRedisStore, type OpenStore } from '../support/quota-stores.js';
import { commands, HISTORIES, KINDS_OF_COMMANDS, LOAD, SEED, WALKS, walks } from '../support/quota-commands.js';
import { claimOn, COUNTERS, Truth, type Command, type TenantTruth } from '../support/quota-truth.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';

/** A long run is never stopped by the clock. */
const TIMEOUT_MS = 60_000 + HISTORIES * 2_000;
const ALL_CLAIMS = COUNTERS.map((kind) => claimOn(kind, {}));
/** Holds that are looked up after each command: the latest, and those that a command may name. */
const LOOKED_UP = 10;

interface Pair {
  readonly memory: OpenStore;
  readonly redis: OpenStore;
}

/** Independent of the order in which a store names the parts of an answer. */
function asText(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(asText).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'nothing';
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, part]) => `${key}: ${asText(part)}`).join(', ')}}`;
}

function compare(what: string, inMemory: unknown, inRedis: unknown): void {
  const [left, right] = [asText(inMemory), asText(inRedis)];
  if (left !== right) throw new Error(`${what}\n  memory: ${left}\n  redis:  ${right}`);
}

/** Everything that a store tells of a tenant. */
async function stateOf(store: QuotaStore, tenant: TenantTruth, nowMs: number): Promise<unknown> {
  const [wallet, limits, holds] = await Promise.all([
    store.wallet(tenant.tenantId),
    store.limits({ tenantId: tenant.tenantId, claims: ALL_CLAIMS, rulesRevision: tenant.rules, nowMs }),
    Promise.all(tenant.holdIds.slice(-LOOKED_UP).map(async (holdId) => await store.locate(holdId, tenant.tenantId))),
  ]);
  return { wallet, limits: limits?.map(({ claim, used, held }) => [claim.counter, used, held]), holds };
}

/** Both are loaded with what the truth has, as if each open hold had its row. */
async function load(pair: Pair, truth: Truth, tenant: TenantTruth): Promise<void> {
  const wallet = await pair.memory.store.wallet(tenant.tenantId);
  // A known tenant is left as it is, whatever a late load brings; an unknown one goes on from its ceiling.
  tenant.promised = tenant.ceiling;
  const snapshot = tenant.snapshot();
  for (const { store } of [pair.memory, pair.redis]) await store.load([wallet === 'unknown' ? snapshot : { ...snapshot, postedNano: 777n }], truth.nowMs);
}

async function writeRows({ store }: OpenStore, tenant: TenantTruth): Promise<void> {
  if ((await store.wallet(tenant.tenantId)) === 'unknown') return;
  const found = await Promise.all(tenant.holdIds.map(async (holdId) => await store.locate(holdId, tenant.tenantId)));
  tenant.rows = found.filter((hold) => hold !== null);
}

async function step(pair: Pair, truth: Truth, command: Command): Promise<void> {
  if (command.name.startsWith(LOAD)) await load(pair, truth, truth.tenant(Number(command.name.slice(LOAD.length + 1))));
  const run = command.prepare(truth);
  const inMemory = await run(pair.memory.store, pair.memory.crash);
  const inRedis = await run(pair.redis.store, pair.redis.crash);
  compare(`answers to ${command.name} differ`, inMemory, inRedis);
  // What a command does to the tenant it does not name would be seen by the next one that names it.
  const touched = command.tenant === undefined ? truth.tenants : [truth.tenant(command.tenant)];
  for (const tenant of touched) {
    const [left, right] = await Promise.all([stateOf(pair.memory.store, tenant, truth.nowMs), stateOf(pair.redis.store, tenant, truth.nowMs)]);
    compare(`state of ${tenant.tenantId} after ${command.name} differs`, left, right);
    await writeRows(pair.memory, tenant);
  }
}

describeWithRedis('H10 memory and Redis give the same answers to the same commands', () => {
  let server: TestRedis;
  let redis: Awaited<ReturnType<typeof openRedisStore>>;
  let admin: Redis;
  const pairs = new Map<string, number>();

  beforeAll(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
    redis = await openRedisStore({ urls: [server.url], cluster: false });
  });
  afterAll(async () => {
    redis.close();
    admin.disconnect();
    await server.close();
  });

  async function run(list: readonly Command[]): Promise<void> {
    await admin.flushdb();
    const pair = { memory: openMemoryStore(), redis };
    const truth = new Truth('');
    for (const tenant of truth.tenants) {
      Object.assign(tenant, { posted: 400n, ceiling: 900n });
      await load(pair, truth, tenant);
    }
    let last = 'start';
    for (const command of list) {
      await step(pair, truth, command);
      pairs.set(`${last} > ${command.name}`, (pairs.get(`${last} > ${command.name}`) ?? 0) + 1);
      last = command.name;
    }
  }

  async function check(histories: fc.Arbitrary<Command[]>, numRuns: number): Promise<string | null> {
    const property = fc.asyncProperty(histories, run);
    const result = await fc.check(property, { numRuns, endOnFailure: true, ...(SEED === null ? {} : { seed: SEED }) });
    const names = result.counterexample?.[0].map((command) => command.name).join(', ') ?? '';
    console.log(`seed ${result.seed}, ${result.numRuns} histories`);
    return result.failed ? `seed ${result.seed}, path ${result.counterexamplePath}: ${String(result.errorInstance)}\n${names}` : null;
  }

  it(
    `in ${HISTORIES} histories of 50 to 90 commands, and the same state after each`,
    async () => {
      expect(await check(fc.array(commands, { minLength: 50, maxLength: 90, size: 'max' }), HISTORIES)).toBeNull();
    },
    TIMEOUT_MS,
  );

  it(
    `and in ${WALKS} that go from every command to every command`,
    async () => {
      expect(await check(walks, WALKS)).toBeNull();
      const seen = [...pairs].filter(([pair]) => !pair.startsWith('start >'));
      console.log(`command pairs: ${seen.length} of ${KINDS_OF_COMMANDS ** 2}, each at least ${Math.min(...seen.map(([, times]) => times))} times`);
      expect(seen).toHaveLength(KINDS_OF_COMMANDS ** 2);
    },
    TIMEOUT_MS,
  );
});
