import { startTestApi, type TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { settleEverything } from '../support/posting.js';
import { PRICED, QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;

function countBy(codes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

describeOnStores('POST /v1/authorize', ({ start, tenants }) => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await start();
    quota = new QuotaTestApi(api, tenants);
  });
  afterAll(async () => await api.close());

  describe('the last dollar', () => {
    it.each(['fast', 'strict'])(
      '500 at once for $0.01 on $1.00 (%s): exactly 100, the rest in_flight_exhausted; released, 100 again',
      async (durability) => {
        const tenantId = await quota.makeTenant({ hold_durability: durability });
        for (let round = 0; round < 2; round += 1) {
          const answers = await Promise.all(Array.from({ length: 500 }, async () => (await quota.askFor(tenantId, '0.01')).body));
          const allowed = answers.filter((answer) => answer.decision === 'allow');
          expect([durability, round, countBy(answers.map((answer) => answer.reason.code))]).toEqual([durability, round, { ok: 100, in_flight_exhausted: 400 }]);
          expect(new Set(allowed.map((answer) => answer.hold.hold_id)).size).toBe(100);
          expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '1.000000000', available_usd: '0.000000000' });
          await Promise.all(allowed.map(async (answer) => await api.call('POST', `/v1/holds/${answer.hold.hold_id}/release`, { body: {} })));
          expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000', available_usd: '1.000000000' });
        }
      },
      60_000,
    );
  });

  it('a credit, its void and an adjustment count for the very next decision', async () => {
    const tenantId = await quota.makeTenant();
    const book = async (path: string, body: object) => (await api.call('POST', path, { body })).body as { lot_id: string };
    const verdict = async () => (await quota.askFor(tenantId, '1.50')).body.decision;
    expect(await verdict()).toBe('block');
    const { lot_id: lotId } = await book(`/v1/tenants/${tenantId}/credits`, { amount_usd: '1', kind: 'paid' });
    expect(await verdict()).toBe('allow');
    await book(`/v1/tenants/${tenantId}/adjustments`, { amount_usd: '3', reason: 'goodwill' });
    expect(await verdict()).toBe('allow');
    await book(`/v1/tenants/${tenantId}/adjustments`, { amount_usd: '-1', reason: 'too much goodwill' });
    await book(`/v1/credits/${lotId}/void`, {});
    expect(await verdict()).toBe('block');
  });

  describe('H5 idempotency by call_id', () => {
    it('answers the same hold again while it lives, takes money once, and says 409 to another body', async () => {
      const tenantId = await quota.makeTenant();
      const first = await quota.askFor(tenantId, '0.40', { call_id: 'same' });
      const again = await quota.askFor(tenantId, '0.40', { call_id: 'same' });
      expect(first.body).toMatchObject({ decision: 'allow', replayed: false });
      expect(again.body).toMatchObject({ decision: 'allow', replayed: true, hold: first.body.hold });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.400000000' });
      expect(await quota.askFor(tenantId, '0.41', { call_id: 'same' })).toMatchObject({ status: 409, body: { code: 'quota.call_conflict' } });
    });

    it('gives one hold to any number of equal requests at once', async () => {
      for (const durability of ['fast', 'strict']) {
        const tenantId = await quota.makeTenant({ hold_durability: durability });
        const answers = await Promise.all(Array.from({ length: 20 }, async () => (await quota.askFor(tenantId, '0.40', { call_id: 'at once' })).body));
        expect(new Set(answers.map((answer) => answer.hold.hold_id)).size).toBe(1);
        expect(answers.filter((answer) => !answer.replayed)).toHaveLength(1);
      }
    });

    it('says 409 quota.call_already_settled once the hold ended, for fifteen minutes', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.10', { call_id: 'over' });
      await api.call('POST', `/v1/holds/${body.hold.hold_id}/release`, { body: {} });
      expect(await quota.askFor(tenantId, '0.10', { call_id: 'over' })).toMatchObject({ status: 409, body: { code: 'quota.call_already_settled' } });
      api.clock.advance(17 * MINUTE_MS);
      expect((await quota.askFor(tenantId, '0.10', { call_id: 'over' })).body).toMatchObject({ decision: 'allow', replayed: false });
    });

    it('does not remember a denial: asking again asks again', async () => {
      const tenantId = await quota.makeTenant({}, '0.05');
      expect((await quota.askFor(tenantId, '0.10', { call_id: 'denied' })).body).toMatchObject({
        decision: 'block',
        hold: null,
        reason: { code: 'too_large' },
      });
      await quota.credit(tenantId, '1');
      expect((await quota.askFor(tenantId, '0.10', { call_id: 'denied' })).body).toMatchObject({ decision: 'allow', replayed: false });
    });
  });

  describe('refusals of money', () => {
    it('tells an empty balance, a call larger than all of it, and one that only has to wait apart', async () => {
      const tenantId = await quota.makeTenant({}, '0');
      expect((await quota.askFor(tenantId, '0.01')).body).toMatchObject({
        decision: 'block',
        reason: { code: 'insufficient_funds', retry_after_ms: null },
        available_usd: '0.000000000',
      });
      await quota.credit(tenantId, '1');
      expect((await quota.askFor(tenantId, '1.000000001')).body.reason).toMatchObject({ code: 'too_large', retry_after_ms: null });
      await quota.askFor(tenantId, '0.60');
      const { body } = await quota.askFor(tenantId, '0.60');
      expect(body.reason).toMatchObject({ code: 'in_flight_exhausted', retry_after_ms: 1_000, scope: 'tenant', budget_id: null });
      expect(body.limits).toEqual([
        {
          kind: 'wallet',
          id: tenantId,
          metric: 'usd',
          limit: '1.000000000',
          used: '0.000000000',
          held: '0.600000000',
          remaining: '0.400000000',
          resets_at: null,
          enforced: true,
          binding: true,
        },
      ]);
      expect((await quota.askFor(tenantId, '0.40')).body).toMatchObject({ decision: 'allow', available_usd: '0.000000000' });
    });

    it('counts the credit limit, and limits a postpaid tenant without one by nothing', async () => {
      const limited = await quota.makeTenant({ credit_limit_usd: '0.50' }, '0');
      expect((await quota.askFor(limited, '0.50')).body.decision).toBe('allow');
      expect((await quota.askFor(limited, '0.01')).body.decision).toBe('block');
      const postpaid = await quota.makeTenant({ billing: 'postpaid' }, '0');
      expect((await quota.askFor(postpaid, '1000')).body).toMatchObject({ decision: 'allow', available_usd: null, limits: [{ limit: null, remaining: null }] });
    });

    it('leaves `limits` out of a minimal answer and nothing else', async () => {
      const tenantId = await quota.makeTenant();
      const full = await quota.askFor(tenantId, '0.01');
      const minimal = await quota.ask({ tenant_id: tenantId, ...PRICED, estimated_cost_usd: '0.01' }, { headers: { prefer: 'return=minimal' } });
      expect(Object.keys(full.body).filter((name) => !(name in minimal.body))).toEqual(['limits']);
    });
  });

  describe('what is not set up', () => {
    it('no tenant: allow, tenant_missing', async () => {
      expect((await quota.ask({ ...PRICED })).body).toMatchObject({ decision: 'allow', hold: null, reason: { code: 'tenant_missing' } });
    });

    it('an unregistered tenant of a trusted source: set up and allowed in shadow, with a hold', async () => {
      const { body } = await quota.ask({ tenant_id: 'first-seen', ...PRICED, input_tokens: 10, max_output_tokens: 10 });
      expect(body).toMatchObject({ decision: 'allow', shadow: true, hold: { amount_usd: expect.any(String) } });
      expect((await api.call('GET', '/v1/tenants/first-seen')).body).toMatchObject({ auto_created: true, billing: 'postpaid', enforcement: 'shadow' });
    });

    it('an unregistered tenant of an untrusted source: block, tenant_unknown, and no tenant is made', async () => {
      await api.call('PUT', '/v1/sources/untrusted', { body: { gateway: 'litellm', trust: { tenant: false, cost: false } } });
      const key = await api.makeKey({ scopes: ['authorize'], source_id: 'untrusted' });
      expect((await quota.ask({ tenant_id: 'made-up', ...PRICED }, { key })).body).toMatchObject({ decision: 'block', reason: { code: 'tenant_unknown' } });
      expect((await api.call('GET', '/v1/tenants/made-up')).status).toBe(404);
    });

    it('a suspended tenant: block, tenant_suspended', async () => {
      const tenantId = await quota.makeTenant({ status: 'suspended' });
      expect((await quota.askFor(tenantId, '0.01')).body).toMatchObject({ decision: 'block', hold: null, reason: { code: 'tenant_suspended' } });
    });

    it('a model without a price: block when enforcing, allow in shadow, and a given cost overrides', async () => {
      const enforcing = await quota.makeTenant();
      const shadow = await quota.makeTenant({ enforcement: 'shadow' });
      const unpriced = { provider: 'hosted_vllm', model: 'nobody-prices-this' };
      expect((await quota.ask({ tenant_id: enforcing, ...unpriced })).body).toMatchObject({
        decision: 'block',
        hold: null,
        reason: { code: 'model_unpriced', scope: 'model' },
      });
      expect((await quota.ask({ tenant_id: shadow, ...unpriced })).body).toMatchObject({
        decision: 'allow',
        would: 'block',
        shadow: true,
        reason: { code: 'model_unpriced' },
      });
      expect((await quota.ask({ tenant_id: enforcing, ...unpriced, estimated_cost_usd: '0.25' })).body).toMatchObject({
        decision: 'allow',
        hold: { amount_usd: '0.250000000' },
        estimate: { basis: 'given' },
      });
    });

    it('shadow: judged by the same counters, hold taken, `would` filled, allowed', async () => {
      const tenantId = await quota.makeTenant({ enforcement: 'shadow' }, '0.05');
      const { body } = await quota.askFor(tenantId, '0.10');
      expect(body).toMatchObject({ decision: 'allow', shadow: true, would: 'block', hold: { amount_usd: '0.100000000' }, reason: { code: 'too_large' } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.100000000', available_usd: '-0.050000000' });
      expect((await quota.askFor(tenantId, '0.01')).body).toMatchObject({ decision: 'allow', would: 'block' });
    });

    it('enforcement off: allow, no hold', async () => {
      const tenantId = await quota.makeTenant({ enforcement: 'off' }, '0');
      expect((await quota.askFor(tenantId, '5')).body).toMatchObject({ decision: 'allow', hold: null, would: null, reason: { code: 'ok' } });
    });

    it("a tenant's own key: its tenant without being named, and another's does not exist", async () => {
      const own = await quota.makeTenant();
      const other = await quota.makeTenant();
      const key = await api.makeKey({ scopes: ['authorize'], tenant_id: own });
      expect((await quota.ask({ ...PRICED, estimated_cost_usd: '0.01' }, { key })).body).toMatchObject({ decision: 'allow', limits: [{ id: own }] });
      expect(await quota.ask({ tenant_id: other, ...PRICED }, { key })).toMatchObject({ status: 404, body: { code: 'tenant.not_found' } });
      const { body } = await quota.askFor(other, '0.01');
      expect((await api.call('POST', `/v1/holds/${body.hold.hold_id}/release`, { key, body: {} })).status).toBe(404);
    });

    it('takes tags, and names the rule that a wrong one breaks', async () => {
      const tenantId = await quota.makeTenant();
      const asked = { tenant_id: tenantId, ...PRICED, estimated_cost_usd: '0.01' };
      expect(await quota.ask({ ...asked, tags: { team: 'search', ticket: 'A-1' } })).toMatchObject({ status: 200, body: { decision: 'allow' } });
      expect(await quota.ask({ ...asked, tags: {} })).toMatchObject({ status: 200, body: { decision: 'allow' } });
      expect(await quota.ask({ ...asked, tags: { team: 'x'.repeat(257) } })).toMatchObject({
        status: 400,
        body: { errors: [{ path: 'tags.team', message: 'must have at most 256 characters' }] },
      });
      const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`tag${index}`, '']));
      expect(await quota.ask({ ...asked, tags: many })).toMatchObject({ status: 400, body: { errors: [{ path: 'tags' }] } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.020000000' });
    });

    it('answers at /authorize too, and names an unknown field', async () => {
      expect((await api.call('POST', '/authorize', { body: {} })).body.reason.code).toBe('tenant_missing');
      expect(await quota.ask({ prompt: 'secret' })).toMatchObject({ status: 400, body: { errors: [{ path: 'prompt', message: 'unknown field' }] } });
    });
  });

  describe('the estimate', () => {
    it('is the price of the given tokens, and 4,096 output tokens where nobody said', async () => {
      const tenantId = await quota.makeTenant();
      const given = (await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 1_000, max_output_tokens: 100 })).body;
      // gpt-4o: $2.50 and $10 a million.
      expect(given).toMatchObject({ estimate: { basis: 'given', cost_usd: '0.003500000' }, hold: { amount_usd: '0.003500000' }, max_output_tokens: 100 });
      const unsaid = (await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 1_000 })).body;
      expect(unsaid).toMatchObject({ estimate: { basis: 'default', cost_usd: '0.043460000' }, max_output_tokens: 4_096 });
    });

    it('learns the p99 output of (tenant, feature, model) from 200 calls on', async () => {
      const tenantId = await quota.makeTenant({ billing: 'postpaid' }, '0');
      await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 1, feature: 'sum' });
      const events = (from: number, until: number): object[] =>
        Array.from({ length: until - from }, (_, index) => ({
          event_id: `${tenantId}-${from + index}`,
          tenant_id: tenantId,
          feature: 'sum',
          ...PRICED,
          usage: { output_tokens: from + index === 0 ? 9_000 : 95 },
        }));
      await api.call('POST', '/v1/events', { body: events(0, 199) });
      await settleEverything(api.app);
      api.clock.advance(2 * MINUTE_MS);
      const estimateOf = async (): Promise<any> => (await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 0, feature: 'sum' })).body;
      expect((await estimateOf()).estimate.basis).toBe('default');
      await api.call('POST', '/v1/events', { body: events(199, 200) });
      await settleEverything(api.app);
      api.clock.advance(2 * MINUTE_MS);
      const learned = await estimateOf();
      expect(learned.estimate.basis).toBe('learned');
      expect(learned.max_output_tokens).toBeGreaterThanOrEqual(95);
      expect(learned.max_output_tokens).toBeLessThanOrEqual(105);
    });
  });

  describe('GET /v1/decisions', () => {
    it('keeps every block and every "would have" with the numbers compared', async () => {
      const tenantId = await quota.makeTenant({}, '0.05');
      await quota.askFor(tenantId, '0.10', { call_id: 'logged' });
      const { body } = await api.call('GET', `/v1/decisions?tenant_id=${tenantId}&decision=block`);
      expect(body.data).toMatchObject([
        {
          tenant_id: tenantId,
          call_id: 'logged',
          decision: 'block',
          would: null,
          reason: 'too_large',
          numbers: { estimate_usd: '0.100000000', limit_usd: '0.050000000', held_usd: '0.000000000' },
        },
      ]);
      expect((await api.call('GET', `/v1/decisions/${body.data[0].decision_id}`)).body).toEqual(body.data[0]);
      const shadow = await quota.makeTenant({ enforcement: 'shadow' }, '0');
      await quota.askFor(shadow, '0.10');
      expect((await api.call('GET', `/v1/decisions?tenant_id=${shadow}`)).body.data).toMatchObject([
        { decision: 'allow', would: 'block', reason: 'insufficient_funds' },
      ]);
    });
  });
});

describe('H6 the right to promise', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  it('without it nothing is allowed but by on_store_failure, and the answer says so', async () => {
    const capped = await quota.makeTenant();
    const open = await quota.makeTenant({ on_store_failure: 'allow' });
    const shadow = await quota.makeTenant({ enforcement: 'shadow' });
    api.fence.lose();
    expect((await quota.askFor(capped, '0.01')).body).toMatchObject({
      decision: 'block',
      degraded: true,
      hold: null,
      reason: { code: 'store_unavailable', retry_after_ms: 1_000 },
    });
    expect((await quota.askFor(open, '0.01')).body).toMatchObject({ decision: 'allow', degraded: true, hold: null });
    expect((await quota.askFor(shadow, '0.01')).body).toMatchObject({ decision: 'allow', would: 'block', degraded: true });
    await api.fence.retake(api.database.db);
    expect((await quota.askFor(capped, '0.01')).body).toMatchObject({ decision: 'allow', degraded: false });
  });

  it('a posting of a process whose epoch is over is refused and made by the next one', async () => {
    const tenantId = await quota.makeTenant();
    await api.call('POST', '/v1/events', { body: { event_id: `${tenantId}-e`, tenant_id: tenantId, ...PRICED, usage: { output_tokens: 100 } } });
    api.fence.lose();
    await expect(settleEverything(api.app)).rejects.toMatchObject({ code: 'quota.fenced' });
    await api.fence.retake(api.database.db);
    await settleEverything(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.999000000' });
  });
});
