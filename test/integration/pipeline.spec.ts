/** From HTTP to the ledger: what is acknowledged is booked exactly once, and everything that was sent is accounted for. */
import pg from 'pg';
import { startTestApi, type TestApi } from '../support/api.js';
import { postEverything } from '../support/posting.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api.close();
});

const event = (over: Record<string, unknown>) => ({ provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1_000_000 }, ...over });
const record = async (events: unknown) => await api.call('POST', '/v1/events?results=all', { body: events });
const tenant = async (tenantId: string, body: object = {}) => await api.call('PUT', `/v1/tenants/${tenantId}`, { body });
const grant = async (tenantId: string, amount: string, kind = 'paid') =>
  await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: amount, kind } });
const balance = async (tenantId: string) => (await api.call('GET', `/v1/tenants/${tenantId}/balance`)).body;
const report = async (tenantId: string) => (await api.call('GET', `/v1/reports/monthly-spend?month=2026-11&tenant_id=${tenantId}`)).body.data;
const post = async () => await postEverything(api.app);

describe('a spend event becomes a booking', () => {
  test('the balance goes down by the exact charge, the report and the event say the same', async () => {
    await tenant('p1');
    await grant('p1', '10');
    const sent = await record(
      event({ event_id: 'e1', tenant_id: 'p1', feature: 'chat', usage: { input_tokens: 176, cache_read_tokens: 1024, output_tokens: 350 } }),
    );
    expect(sent.status).toBe(202);
    expect(sent.body).toMatchObject({ accepted: 1, duplicates: 0, rejected: 0 });
    await post();
    expect((await balance('p1')).posted_usd).toBe('9.994780000');
    expect(await report('p1')).toMatchObject([
      {
        provider: 'openai',
        model: 'gpt-4o',
        environment: 'prod',
        requests: 1,
        input_tokens: 176,
        cache_read_tokens: 1024,
        output_tokens: 350,
        cost_usd: '0.005220000',
        charge_usd: '0.005220000',
      },
    ]);
    const { body } = await api.call('GET', `/v1/events/${sent.body.results[0].id}`);
    expect(body).toMatchObject({ state: 'posted', cost_usd: '0.005220000', charge_usd: '0.005220000', usage_quality: 'exact' });
    expect(body.lines.map((line: { component: string; cost_usd: string }) => [line.component, line.cost_usd])).toEqual([
      ['input_tokens', '0.000440000'],
      ['cache_read_tokens', '0.001280000'],
      ['output_tokens', '0.003500000'],
    ]);
    expect(body.lots).toMatchObject([{ amount_usd: '0.005220000' }]);
  });

  test('what a lot does not cover is owed', async () => {
    await tenant('p2');
    await grant('p2', '1');
    await record([event({ event_id: 'a', tenant_id: 'p2' }), event({ event_id: 'b', tenant_id: 'p2' })]);
    await post();
    expect(await balance('p2')).toMatchObject({ posted_usd: '-4.000000000', receivable_usd: '4.000000000' });
  });

  test('an event without a tenant is booked under `unknown`: cost, no charge', async () => {
    const { body } = await record(event({ event_id: 'nobody' }));
    expect(body.accepted).toBe(1);
    await post();
    expect((await report('unknown'))[0]).toMatchObject({ cost_usd: '2.500000000', charge_usd: '0.000000000' });
  });

  test('an unregistered tenant of a trusted source is created: postpaid, shadow', async () => {
    await record(event({ event_id: 'new', tenant_id: 'p-new' }));
    expect((await api.call('GET', '/v1/tenants/p-new')).body).toMatchObject({ billing: 'postpaid', enforcement: 'shadow', auto_created: true });
  });
});

describe('E1 E3 exactly once, everything accounted for', () => {
  test('the same batch from 20 connections, shuffled, books every event once', async () => {
    await tenant('p3');
    const events = Array.from({ length: 60 }, (_, index) =>
      event({ event_id: `x${index}`, tenant_id: 'p3', call_id: `c${index}`, usage: { output_tokens: index + 1 } }),
    );
    const answers = await Promise.all(Array.from({ length: 20 }, (_, seed) => record([...events].sort(() => (seed % 2 === 0 ? 1 : -1)))));
    const sum = (name: string) => answers.reduce((total, answer) => total + answer.body[name], 0);
    expect([sum('accepted'), sum('duplicates'), sum('conflicts'), sum('rejected')]).toEqual([60, 60 * 19, 0, 0]);
    await Promise.all([post(), post(), post()]);
    expect((await report('p3'))[0]).toMatchObject({ requests: 60, output_tokens: (60 * 61) / 2, cost_usd: '0.018300000' });
  });

  test('count in = posted + duplicates + quarantined + dead-lettered, conflicts inside', async () => {
    await tenant('p4');
    const { body } = await record([
      event({ event_id: 'ok', tenant_id: 'p4' }),
      event({ event_id: 'ok', tenant_id: 'p4' }),
      event({ event_id: 'ok', tenant_id: 'p4', usage: { input_tokens: 7 } }),
      event({ event_id: 'unpriced', tenant_id: 'p4', model: 'no-such-model', provider: 'nobody' }),
      event({ event_id: 'bad', tenant_id: 'p4', usage: { input_tokens: -1 } }),
      null,
      'text',
    ]);
    expect(body).toMatchObject({ accepted: 2, duplicates: 1, conflicts: 1, rejected: 3 });
    await post();
    const db = api.database.db;
    const [counts] = await db.query<Record<string, bigint>>(
      `SELECT (SELECT count(*) FROM metering.posting WHERE tenant_id = 'p4' AND state = 'posted') AS posted,
              (SELECT count(*) FROM metering.quarantine WHERE tenant_id = 'p4') AS quarantined`,
    );
    expect(counts).toEqual({ posted: 1n, quarantined: 1n });
    const letters = (await api.call('GET', '/v1/dead-letters?limit=4')).body.data;
    expect(letters.map((letter: { code: string }) => letter.code).sort()).toEqual(['event.conflict', 'event.invalid', 'event.invalid', 'event.invalid']);
    expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  });
});

describe('E2 replays change nothing', () => {
  test('a second replay of everything leaves every table as it was', async () => {
    await tenant('p5');
    const events = Array.from({ length: 10 }, (_, index) => event({ event_id: `r${index}`, tenant_id: 'p5', call_id: `rc${index}` }));
    await record(events);
    await post();
    const before = await dump();
    for (const slice of [events, events.slice(3), events.slice(0, 5).reverse()]) await record(slice);
    await post();
    expect(await dump()).toEqual(before);
  });
});

describe('corrections', () => {
  const usage = (tokens: number) => ({ input_tokens: tokens });

  test('E5 a better figure takes the estimate back and books anew; a worse one changes nothing', async () => {
    await tenant('p6');
    await grant('p6', '100');
    await record(event({ event_id: 'est', tenant_id: 'p6', call_id: 'k1', usage: usage(4_000_000), usage_quality: 'estimated' }));
    await post();
    expect((await balance('p6')).posted_usd).toBe('90.000000000');
    expect((await record(event({ event_id: 'exact', tenant_id: 'p6', call_id: 'k1', usage: usage(2_000_000) }))).body.corrected).toBe(1);
    await post();
    expect((await balance('p6')).posted_usd).toBe('95.000000000');
    expect((await record(event({ event_id: 'worse', tenant_id: 'p6', call_id: 'k1', usage: usage(9), usage_quality: 'tokenizer' }))).body.duplicates).toBe(1);
    await post();
    expect((await report('p6'))[0]).toMatchObject({ requests: 1, input_tokens: 2_000_000, cost_usd: '5.000000000' });
    expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  });

  test('estimate and correction that arrive before the poster runs end at the better figure', async () => {
    await tenant('p7');
    await record(event({ event_id: 'est7', tenant_id: 'p7', call_id: 'k', usage: usage(4_000_000), usage_quality: 'estimated' }));
    await record(event({ event_id: 'mid7', tenant_id: 'p7', call_id: 'k', usage: usage(3_000_000), usage_quality: 'partial' }));
    await record(event({ event_id: 'exact7', tenant_id: 'p7', call_id: 'k', usage: usage(2_000_000) }));
    await post();
    expect((await report('p7'))[0]).toMatchObject({ requests: 1, input_tokens: 2_000_000, charge_usd: '5.000000000' });
    expect((await balance('p7')).posted_usd).toBe('-5.000000000');
  });

  test('E5 absent usage is never booked as zero: it waits, and a later report settles it', async () => {
    await tenant('p8');
    const sent = await record(event({ event_id: 'none', tenant_id: 'p8', call_id: 'k', usage: null }));
    await post();
    const first = await api.call('GET', `/v1/events/${sent.body.results[0].id}`);
    expect(first.body).toMatchObject({ state: 'quarantined', state_reason: 'usage_unknown', cost_usd: null });
    expect((await record(event({ event_id: 'later', tenant_id: 'p8', call_id: 'k', usage: usage(1_000_000) }))).body.corrected).toBe(1);
    await post();
    expect((await report('p8'))[0]).toMatchObject({ requests: 1, charge_usd: '2.500000000' });
    const [row] = await api.database.db.query<{ count: bigint }>(`SELECT count(*) FROM metering.quarantine WHERE tenant_id = 'p8'`);
    expect(row?.count).toBe(0n);
  });
});

describe('quarantine', () => {
  test('an unpriced event is booked once its price arrives, at that price, with its version', async () => {
    await tenant('p9');
    const sent = await record(event({ event_id: 'q', tenant_id: 'p9', provider: 'own', model: 'own-model', usage: { input_tokens: 10, output_tokens: 5 } }));
    await post();
    expect(await report('p9')).toEqual([]);
    const put = await api.call('PUT', '/v1/price-overrides/own', {
      body: { provider: 'own', model: 'own-model', prices: { input_tokens: '0.001', output_tokens: '0.002' }, effective_from: '2026-01-01T00:00:00Z' },
    });
    expect(put.status).toBe(200);
    await requeue();
    await post();
    expect((await report('p9'))[0]).toMatchObject({ cost_usd: '0.020000000' });
    const { body } = await api.call('GET', `/v1/events/${sent.body.results[0].id}`);
    expect(body.state).toBe('posted');
    expect(body.postings).toHaveLength(2);
    expect(body.price_version).toContain('own');
  });

  test('an absurd cost is set aside, not booked', async () => {
    await tenant('p10');
    await record(event({ event_id: 'huge', tenant_id: 'p10', usage: { output_tokens: 1_000_000_000 } }));
    await post();
    expect(await report('p10')).toEqual([]);
    const [row] = await api.database.db.query<{ reason: string }>(`SELECT reason FROM metering.quarantine WHERE tenant_id = 'p10'`);
    expect(row?.reason).toBe('absurd_cost');
  });
});

describe('E7 a poison event affects only itself', () => {
  test('a booking that the database refuses is set aside and its neighbours are booked', async () => {
    await tenant('p11');
    const owner = new pg.Client({ connectionString: api.database.url });
    await owner.connect();
    await owner.query(`ALTER TABLE metering.posting ADD CONSTRAINT poison CHECK (tenant_id <> 'p11' OR cost_nano <> 17500)`);
    await record([1, 7, 2].map((tokens) => event({ event_id: `t${tokens}`, tenant_id: 'p11', usage: usage(tokens) })));
    await post();
    await owner.query('ALTER TABLE metering.posting DROP CONSTRAINT poison');
    await owner.end();
    expect((await report('p11'))[0]).toMatchObject({ requests: 2, input_tokens: 3 });
    const rows = await api.database.db.query<{ reason: string }>(`SELECT reason FROM metering.quarantine WHERE tenant_id = 'p11'`);
    expect(rows).toEqual([{ reason: 'posting_failed' }]);
    await requeue();
    await post();
    expect((await report('p11'))[0]).toMatchObject({ requests: 3, input_tokens: 10 });
  });
  const usage = (tokens: number) => ({ input_tokens: tokens });
});

async function requeue(): Promise<void> {
  const { RequeueQuarantined } = await import('#libs/metering/index.js');
  await api.app.get(RequeueQuarantined).execute();
}

/** Every row of every context's tables, with the transaction that wrote it. */
async function dump(): Promise<unknown> {
  const tables = await api.database.db.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname IN ('tenancy', 'pricing', 'ledger', 'metering', 'reporting') AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1`,
  );
  const contents = [];
  for (const { name } of tables) contents.push([name, await api.database.db.query(`SELECT t.xmin::text, t::text AS row FROM ${name} t ORDER BY 2`)]);
  return contents;
}
