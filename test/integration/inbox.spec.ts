/** The inbox on a real PostgreSQL: what is assumed to be new and is not, and what the poster is spared to read back. */
import fc from 'fast-check';
import { newUuid } from '#libs/kernel/index.js';
import { openInbox } from '#libs/metering/testing/inbox-fixture.js';
import { anAdmitted } from '#libs/metering/testing/reports.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database.close();
});

const AT = new Date('2026-11-22T12:00:00.123Z');
type Over = Parameters<typeof anAdmitted>[1];
const report = (tenantId: string, over: Over) => anAdmitted(newUuid(AT), { tenantId, ...over }, { receivedAt: AT, occurredAt: AT });
const fresh = (tenantId: string, from: number, count: number) =>
  Array.from({ length: count }, (_, index) => report(tenantId, { externalId: `${tenantId}-${from + index}`, callId: `call-${from + index}` }));
const outcomes = async (reports: ReturnType<typeof fresh>) => (await openInbox(database.db).write(reports)).map((result) => result.outcome);
const countOf = async (table: string, where: string): Promise<number> => {
  const [row] = await database.db.query<{ n: bigint }>(`SELECT count(*) AS n FROM ${table} WHERE ${where}`);
  return Number(row?.n);
};

describe('E2 a batch that is taken for new and is not', () => {
  test('one event id that is known makes one duplicate, and its neighbours are stored once', async () => {
    const [known, ...others] = fresh('inbox-a', 0, 50);
    if (!known) throw new Error('no report');
    expect(await outcomes([known])).toEqual(['accepted']);
    const again = { ...known, eventId: newUuid(AT) };
    expect(await outcomes([...others, again])).toEqual([...others.map(() => 'accepted'), 'duplicate']);
    expect(await countOf('metering.event', `tenant_id = 'inbox-a'`)).toBe(50);
    expect(await countOf('metering.pending p JOIN metering.event e USING (event_id)', `e.tenant_id = 'inbox-a'`)).toBe(50);
  });

  test('one call that is known under another event id is one call', async () => {
    const first = report('inbox-b', { externalId: 'first', callId: 'the-call' });
    expect(await outcomes([first])).toEqual(['accepted']);
    const twin = report('inbox-b', { externalId: 'second', callId: 'the-call' });
    expect(await outcomes([...fresh('inbox-b', 0, 20), twin])).toEqual([...Array.from({ length: 20 }, () => 'accepted'), 'duplicate']);
    expect(await countOf('metering.event', `tenant_id = 'inbox-b'`)).toBe(21);
  });

  test('the same batch from several writers at once is stored once', async () => {
    const batch = fresh('inbox-c', 0, 300);
    const inboxes = Array.from({ length: 6 }, () => openInbox(database.db));
    const results = await Promise.all(
      inboxes.map(async (inbox, index) => await inbox.write((index % 2 === 0 ? batch : batch.toReversed()).map((one) => ({ ...one, eventId: newUuid(AT) })))),
    );
    expect(results.flat().filter((result) => result.outcome === 'accepted')).toHaveLength(300);
    expect(results.flat().filter((result) => result.outcome === 'duplicate')).toHaveLength(5 * 300);
    expect(await countOf('metering.event', `tenant_id = 'inbox-c'`)).toBe(300);
  });

  test('an event that the database refuses leaves nothing of its batch', async () => {
    const poison = report('inbox-d', { externalId: 'poison', metadata: { note: 'a\u0000b' } });
    await expect(openInbox(database.db).write([...fresh('inbox-d', 0, 5), poison])).rejects.toMatchObject({ code: '22P05' });
    expect(await countOf('metering.event', `tenant_id = 'inbox-d'`)).toBe(0);
    expect(await outcomes(fresh('inbox-d', 0, 5))).toEqual(Array.from({ length: 5 }, () => 'accepted'));
  });
});

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((value) => !value.includes('\u0000'));
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
const anyReport = fc.record({
  callId: optional(text),
  holdId: optional(fc.uuid({ version: 7 }).map((uuid) => `hold_${uuid}`)),
  userId: optional(text),
  feature: optional(text),
  requestId: optional(text),
  provider: optional(text),
  model: optional(text),
  requestedModel: optional(text),
  error: optional(text),
  tags: optional(fc.dictionary(text, text, { maxKeys: 3 })),
  usage: optional(fc.record({ input_tokens: fc.nat(), output_tokens: fc.nat(), meters: fc.dictionary(text, fc.nat(), { maxKeys: 3, noNullPrototype: true }) })),
  claimedCostNano: optional(fc.bigInt(0n, 9_000_000_000_000_000n)),
  latencyMs: optional(fc.nat()),
  stream: optional(fc.boolean()),
  status: fc.constantFrom('success' as const, 'error' as const, 'cancelled' as const, 'blocked' as const),
  claimsCall: fc.boolean(),
});

describe('what this process has just committed', () => {
  test('is the same event from memory as from its row, whatever it says', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyReport, { minLength: 1, maxLength: 12 }), async (reports) => {
        run += 1;
        const tenantId = `inbox-memory-${run}`;
        const inbox = openInbox(database.db);
        // Calls of their own: whether they are one call is not what is asked here.
        const admitted = reports.map((one, index) =>
          report(tenantId, { ...one, externalId: `${run}-${index}`, callId: one.callId === null ? null : `${one.callId}${index}` }),
        );
        inbox.recent.want();
        await inbox.write(admitted);
        const remembered = await inbox.take(inbox.here, tenantId);
        const read = await inbox.take(inbox.elsewhere, tenantId);
        const own = (events: typeof read) => events.filter((event) => event.tenantId === tenantId);
        expect(own(remembered)).toHaveLength(admitted.length);
        expect(own(remembered)).toEqual(own(read));
      }),
      { numRuns: 40 },
    );
  });

  test('a posting that was rolled back finds its events again', async () => {
    const inbox = openInbox(database.db);
    inbox.recent.want();
    const admitted = fresh('inbox-again', 0, 10);
    await inbox.write(admitted);
    const first = await inbox.take(inbox.here, 'inbox-again');
    expect(await inbox.take(inbox.here, 'inbox-again')).toEqual(first);
  });

  test('a poster of the same process takes both what it remembers and what another process took in', async () => {
    const inbox = openInbox(database.db);
    inbox.recent.want();
    await outcomes(fresh('inbox-both', 0, 5));
    await inbox.write(fresh('inbox-both', 5, 5));
    const taken = (await inbox.take(inbox.here, 'inbox-both')).filter((event) => event.tenantId === 'inbox-both');
    expect(taken.map((event) => event.callId)).toEqual(Array.from({ length: 10 }, (_, index) => `call-${index}`));
  });
});
