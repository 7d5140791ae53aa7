import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { formatUsd } from '#libs/kernel/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { PriceBook, PutModelAlias, PutPriceOverride, PutRateCard } from '#libs/pricing/index.js';
import { readBaseBook } from '../../libs/pricing/catalogue/read-base-book.js';
import { PostgresPriceStore } from '../../libs/pricing/postgres/price-store.js';
import { aQuery } from '../../libs/pricing/testing/price-decisions.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';

const context = { actor: 'admin', requestId: 'req-1' };
const START = new Date('2026-11-22T12:00:00.000Z');
const store = new PostgresPriceStore();

let database: TestDatabase;
const clock = new FixedClock(START);
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => await database.close());
beforeEach(() => clock.set(START));

function openBook(): PriceBook {
  return new PriceBook(database.db, store, clock, readBaseBook());
}

type Override = Parameters<PutPriceOverride['execute']>[0];
function putOverride(
  book: PriceBook,
  override: Partial<Override> & Pick<Override, 'overrideId' | 'model' | 'prices'>,
): ReturnType<PutPriceOverride['execute']> {
  const putPriceOverride = new PutPriceOverride(database.db, store, book, new AuditLog(), clock);
  return putPriceOverride.execute({ provider: 'hosted_vllm', effectiveFrom: null, effectiveTo: null, reason: null, acceptJump: false, context, ...override });
}

function costOf(book: PriceBook, query: Parameters<typeof aQuery>[0]): string {
  const rating = book.rate(aQuery(query));
  return rating.ok ? `${formatUsd(rating.costNano)} ${rating.priceVersion}` : rating.reason;
}

describe('S5 overrides in the database', () => {
  it('a first price counts from the beginning, its change from now on', async () => {
    const book = openBook();
    const query = { provider: 'hosted_vllm', model: 'first-price', usage: { input_tokens: 1_000 } };
    expect(costOf(book, query)).toBe('model_unpriced');
    const first = await putOverride(book, { overrideId: 'first', model: 'first-price', prices: { input_tokens: '0.000001' } });
    expect(first).toMatchObject({ revision: 1, effectiveFrom: new Date(0) });
    expect(costOf(book, { ...query, at: new Date('2026-01-01T00:00:00Z') })).toBe('0.001000000 override:first@1');

    clock.advance(60_000);
    expect(await putOverride(book, { overrideId: 'first', model: 'first-price', prices: { input_tokens: '0.000002' } })).toMatchObject({
      revision: 2,
      effectiveFrom: clock.now(),
    });
    expect(costOf(book, { ...query, at: START })).toBe('0.001000000 override:first@1');
    expect(costOf(book, { ...query, at: clock.now() })).toBe('0.002000000 override:first@2');
  });

  it('the same decision again makes no revision', async () => {
    const book = openBook();
    const decision = { overrideId: 'same', model: 'same', prices: { input_tokens: '0.000001', output_tokens: '0.000002' } };
    await putOverride(book, decision);
    clock.advance(1_000);
    const again = await putOverride(book, { ...decision, prices: { output_tokens: '0.0000020', input_tokens: '0.000001' } });
    expect(again.revision).toBe(1);
  });

  it('an id keeps its model, for its history explains what was billed', async () => {
    const book = openBook();
    await putOverride(book, { overrideId: 'kept', model: 'kept', prices: { input_tokens: '0.000001' } });
    await expect(putOverride(book, { overrideId: 'kept', model: 'other', prices: { input_tokens: '0.000001' } })).rejects.toMatchObject({
      code: 'price_override.other_model',
    });
  });

  it('F27 a jump is refused without accept_jump and changes nothing', async () => {
    const book = openBook();
    const decision = { overrideId: 'jump', provider: 'openai', model: 'gpt-4o', prices: { input_tokens: '0.000051' } };
    await expect(putOverride(book, decision)).rejects.toMatchObject({ code: 'price.jump', errors: [{ path: 'prices.input_tokens' }] });
    expect(costOf(book, { usage: { input_tokens: 1 } })).toBe('0.000002500 genai-prices-0.1.8/openai/gpt-4o');
    await putOverride(book, { ...decision, acceptJump: true });
    expect(costOf(book, { usage: { input_tokens: 1 } })).toBe('0.000051000 genai-prices-0.1.8/openai/gpt-4o;override:jump@1');
    clock.advance(1);
    await putOverride(book, { ...decision, effectiveFrom: START, effectiveTo: clock.now() });
    expect(costOf(book, { usage: { input_tokens: 1 }, at: clock.now() })).toBe('0.000002500 genai-prices-0.1.8/openai/gpt-4o');
  });

  it('twenty decisions at once on one id become twenty revisions', async () => {
    const book = openBook();
    const puts = Array.from(
      { length: 20 },
      async (_, index) => await putOverride(book, { overrideId: 'race', model: 'race', prices: { input_tokens: `0.00000${100 + index}` } }),
    );
    const revisions = (await Promise.all(puts)).map((override) => override.revision).sort((a, b) => a - b);
    expect(revisions).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  it('the database itself refuses to change a revision', async () => {
    const book = openBook();
    await putOverride(book, { overrideId: 'sealed', model: 'sealed', prices: { input_tokens: '0.000001' } });
    await expect(database.db.execute(`UPDATE pricing.price_override SET model = 'x' WHERE override_id = 'sealed'`)).rejects.toThrow(/permission denied/);
    await expect(database.db.execute(`DELETE FROM pricing.rate_card`)).rejects.toThrow(/permission denied/);
  });
});

describe('several processes', () => {
  it('another process takes a decision over with its next refresh, and is told once', async () => {
    const [here, there] = [openBook(), openBook()];
    await there.refresh();
    let changes = 0;
    there.onChange(() => (changes += 1));
    const before = there.version();
    await putOverride(here, { overrideId: 'shared', model: 'shared', prices: { input_tokens: '0.000001' } });
    expect(costOf(there, { provider: 'hosted_vllm', model: 'shared', usage: { input_tokens: 1 } })).toBe('model_unpriced');
    expect(await there.refresh()).toBe(true);
    expect(await there.refresh()).toBe(false);
    expect(changes).toBe(1);
    expect(there.version()).not.toBe(before);
    expect(there.version()).toBe(here.version());
    expect(costOf(there, { provider: 'hosted_vllm', model: 'shared', usage: { input_tokens: 1 } })).toBe('0.000001000 override:shared@1');
  });
});

describe('rate cards in the database', () => {
  it('keep markup and prices to the digit, revision by revision', async () => {
    const book = openBook();
    const put = new PutRateCard(database.db, store, book, new AuditLog(), clock);
    const card = {
      rateCardId: 'std',
      markupPercent: '12.3456',
      prices: [{ provider: null, model: 'gpt-4.1', prices: { output_tokens: '0.000000000000001' } }],
      reason: 'launch',
      context,
    };
    expect(await put.execute(card)).toMatchObject({ revision: 1 });
    expect(await put.execute({ ...card, reason: 'again' })).toMatchObject({ revision: 1 });
    clock.advance(1_000);
    expect(await put.execute({ ...card, markupPercent: '-5' })).toMatchObject({ revision: 2 });
    const fresh = openBook();
    await fresh.refresh();
    const charge = (at: Date): unknown =>
      fresh.rate(aQuery({ model: 'gpt-4.1', usage: { input_tokens: 1_000_000, output_tokens: 1_000_000 }, rateCardId: 'std', at }));
    // 2 USD and 12.3456 % of it, and one nano-dollar for the output.
    expect(charge(START)).toMatchObject({ chargeNano: 2_246_912_000n + 1n, priceVersion: expect.stringMatching(/;card:std@1$/) });
    expect(charge(clock.now())).toMatchObject({ chargeNano: 1_900_000_000n + 1n, priceVersion: expect.stringMatching(/;card:std@2$/) });
  });
});

describe('aliases in the database', () => {
  it('what was set replaces what was set, stands above what was learned, and is per source', async () => {
    const book = openBook();
    const put = new PutModelAlias(database.db, store, book, new AuditLog(), clock);
    const model = (sourceId: string): string => {
      const rating = book.rate(aQuery({ provider: null, model: 'smart', sourceId, usage: { input_tokens: 1 } }));
      return rating.ok ? rating.model : rating.reason;
    };
    await book.learnAliases([{ sourceId: 'a', alias: 'smart', provider: 'openai', model: 'openai/gpt-4o' }]);
    expect(model('a')).toBe('gpt-4o');
    await put.execute({ alias: 'smart', sourceId: null, provider: 'anthropic', model: 'claude-opus-4-6', context });
    await put.execute({ alias: 'smart', sourceId: 'b', provider: 'openai', model: 'gpt-4o-mini', context });
    expect([model('a'), model('b'), model('c')]).toEqual(['claude-opus-4-6', 'gpt-4o-mini', 'claude-opus-4-6']);
    await put.execute({ alias: 'smart', sourceId: null, provider: 'openai', model: 'gpt-4.1', context });
    expect([model('a'), model('b')]).toEqual(['gpt-4.1', 'gpt-4o-mini']);
  });

  it('learning what is known writes nothing', async () => {
    const book = openBook();
    const seen = [{ sourceId: 'a', alias: 'learned', provider: 'openai', model: 'openai/gpt-4o' }];
    await book.learnAliases([...seen, ...seen]);
    const version = book.version();
    await book.learnAliases(seen);
    expect(book.version()).toBe(version);
    const [row] = await database.db.query<{ count: bigint }>(`SELECT count(*) FROM pricing.model_alias WHERE alias = 'learned'`);
    expect(row?.count).toBe(1n);
  });
});

describe('every decision is audited with what was before', () => {
  it('an override, a card and an alias', async () => {
    const book = openBook();
    await putOverride(book, { overrideId: 'audited', model: 'audited', prices: { input_tokens: '0.000001' }, reason: 'contract 7' });
    clock.advance(1_000);
    await putOverride(book, { overrideId: 'audited', model: 'audited', prices: { input_tokens: '0.000002' } });
    const audit = new AuditLog();
    const entries = (await audit.list(database.db, { entity: 'price_override', limit: 500 })).filter((entry) => entry.entityId === 'audited');
    expect(entries).toMatchObject([
      {
        action: 'price_override.updated',
        actor: 'admin',
        requestId: 'req-1',
        before: { revision: 1, prices: { input_tokens: '0.000001' } },
        after: { revision: 2, prices: { input_tokens: '0.000002' } },
      },
      { action: 'price_override.created', before: null, after: { revision: 1 }, reason: 'contract 7' },
    ]);
    expect((await audit.list(database.db, { entity: 'rate_card', limit: 500 })).length).toBeGreaterThan(0);
    expect((await audit.list(database.db, { entity: 'model_alias', limit: 500 })).length).toBeGreaterThan(0);
  });
});
