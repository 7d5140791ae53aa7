/** The order of booking when ids do not follow it: another process's clock was behind. */
import { startTestApi, type TestApi } from '../support/api.js';
import { postEverything } from '../support/posting.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api.close();
});

/** More than the poster takes at once, so that the last of them is not in its first batch. */
const FILLERS = 2_000;

const event = (eventId: string, over: object = {}) => ({ event_id: eventId, tenant_id: 'order', provider: 'openai', model: 'gpt-4o', ...over });
const record = async (events: unknown) => (await api.call('POST', '/v1/events', { body: events })).body;

describe('E5 a correction is booked after what it corrects', () => {
  test('a correction that is taken off the work list before its target goes back on it, and both end at the better figure', async () => {
    await api.call('PUT', '/v1/tenants/order', { body: {} });
    await record(event('estimate', { call_id: 'k', usage: { input_tokens: 4_000_000 }, usage_quality: 'estimated' }));
    api.clock.advance(-60_000);
    expect((await record(event('exact', { call_id: 'k', usage: { input_tokens: 2_000_000 } }))).corrected).toBe(1);
    const fillers = Array.from({ length: FILLERS }, (_, index) => event(`filler${index}`, { usage: { output_tokens: 1 } }));
    for (let from = 0; from < FILLERS; from += 500) expect((await record(fillers.slice(from, from + 500))).accepted).toBe(500);

    expect(await postEverything(api.app)).toBe(FILLERS + 2);

    const { db } = api.database;
    const [left] = await db.query<{ count: bigint }>('SELECT count(*) FROM metering.pending');
    expect(left?.count).toBe(0n);
    const steps = await db.query<{ state: string; cost_nano: bigint }>(
      `SELECT p.state, p.cost_nano FROM metering.posting p JOIN metering.event e USING (event_id)
       WHERE e.external_id IN ('estimate', 'exact') ORDER BY e.external_id, p.revision`,
    );
    expect(steps).toEqual([
      { state: 'posted', cost_nano: 10_000_000_000n },
      { state: 'reversed', cost_nano: 0n },
      { state: 'posted', cost_nano: 5_000_000_000n },
    ]);
    expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  });
});
