/**
 * Every LiteLLM sample over HTTP, each twice, shuffled, from 20 connections: each call once, totals to the nano-dollar, no prompt anywhere.
 */
import fc from 'fast-check';
import { Writable } from 'node:stream';
import { createLogger } from '#libs/platform/logging/logger.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { expectedLiteLlm, liteLlmBody, liteLlmSample, LITELLM_SAMPLES } from '../support/litellm-samples.js';
import { postEverything } from '../support/posting.js';

const CANARY = 'canary-prompt-7f3a';
const logged: string[] = [];
let api: TestApi;

beforeAll(async () => {
  const sink = new Writable({ write: (chunk: Buffer, _encoding, done) => (logged.push(chunk.toString()), done()) });
  api = await startTestApi({ logger: createLogger({ level: 'trace', destination: sink }) });
});
afterAll(async () => {
  await api.close();
});

/** The body with the canary wherever a prompt, an answer or a parameter stands. */
function poisoned(body: string): string {
  return body
    .replaceAll('Summarise the attached contract.', CANARY)
    .replaceAll('The contract renews annually...', CANARY)
    .replaceAll('"temperature":', `"stop":"${CANARY}","temperature":`);
}

test('each of the samples is booked once and the totals are the ones worked out by hand', async () => {
  const now = api.clock.now();
  const singles = LITELLM_SAMPLES.map((name) => JSON.stringify(liteLlmSample(name, now)));
  const bodies = [...singles, ...singles, liteLlmBody('batch-array.json', now), liteLlmBody('batch.ndjson', now)].map(poisoned);
  expect(bodies.join('')).toContain(CANARY);
  const [shuffled = []] = fc.sample(fc.shuffledSubarray(bodies, { minLength: bodies.length }), { numRuns: 1 });

  const answers = await Promise.all(shuffled.map(async (body) => await api.call('POST', '/v1/webhooks/litellm', { body })));
  expect(answers.map((answer) => answer.status)).toEqual(shuffled.map(() => 202));
  const sum = (name: string): number => answers.reduce((total, answer) => total + Number(answer.body[name]), 0);
  expect([sum('accepted'), sum('conflicts'), sum('corrected')]).toEqual([LITELLM_SAMPLES.length, 0, 0]);
  await postEverything(api.app);

  const expected = expectedLiteLlm();
  const rows = (await api.call('GET', '/v1/reports/monthly-spend?month=2026-11')).body.data as { tenant_id: string; cost_usd: string }[];
  for (const [tenantId, total] of Object.entries(expected.totals_by_tenant)) {
    const nano = rows.filter((row) => row.tenant_id === tenantId).reduce((all, row) => all + BigInt(row.cost_usd.replace('.', '')), 0n);
    expect({ tenantId, nano }).toEqual({ tenantId, nano: BigInt(total.cost_usd.replace('.', '')) });
  }
  const events = (await api.call('GET', '/v1/events?limit=50')).body.data as {
    event_id: string;
    cost_usd: string | null;
    tenant_id: string;
    usage_quality: string;
    status: string;
  }[];
  expect(events).toHaveLength(LITELLM_SAMPLES.length);
  for (const name of LITELLM_SAMPLES) {
    const sample = expected.samples[name];
    const [prefix = '', startTime] = sample.event_id.split('{');
    const event = events.find((candidate) => (startTime === undefined ? candidate.event_id === prefix : candidate.event_id.startsWith(prefix)));
    expect({ name, cost: event?.cost_usd, tenant: event?.tenant_id, quality: event?.usage_quality, status: event?.status }).toEqual({
      name,
      cost: sample.cost_usd,
      tenant: sample.tenant_id,
      quality: sample.quality,
      status: sample.status,
    });
  }
});

test('a refused item keeps no prompt either', async () => {
  const now = api.clock.now();
  const broken = { ...liteLlmSample('success', now), id: 'broken', startTime: 'soon', messages: [{ role: 'user', content: CANARY }] };
  const { body } = await api.call('POST', '/v1/webhooks/litellm', { body: [broken, null] });
  expect(body).toMatchObject({ accepted: 0, rejected: 2 });
  const own = await api.call('POST', '/v1/events', { body: { event_id: 'own', messages: CANARY } });
  expect(own.body.results[0]).toMatchObject({ outcome: 'rejected', code: 'event.unknown_field' });
});

test('S3 no prompt text is anywhere in the database or the logs', async () => {
  const tables = await api.database.db.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_table_privilege(c.oid, 'SELECT')`,
  );
  for (const { name } of tables) {
    const found = await api.database.db.query(`SELECT 1 FROM ${name} t WHERE t::text LIKE '%' || $1 || '%'`, [CANARY]);
    expect({ name, found }).toEqual({ name, found: [] });
  }
  expect(logged.length).toBeGreaterThan(0);
  expect(logged.join('')).not.toContain(CANARY);
});
