import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';

describe('prices over HTTP', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(async () => await api.close());

  const put = async (path: string, body: unknown): Promise<ApiAnswer> => await api.call('PUT', path, { body });
  const quote = async (body: unknown, key?: string): Promise<ApiAnswer> =>
    await api.call('POST', '/v1/prices/quote', { body, ...(key === undefined ? {} : { key }) });

  describe('POST /v1/prices/quote', () => {
    it('quotes a call line by line', async () => {
      const { status, body } = await quote({ model: 'gpt-4o', usage: { input_tokens: 176, cache_read_tokens: 1024, output_tokens: 350 } });
      expect([status, body]).toEqual([
        200,
        {
          provider: 'openai',
          model: 'gpt-4o',
          cost_usd: '0.005220000',
          charge_usd: '0.005220000',
          lines: [
            { component: 'input_tokens', quantity: 176, unit_price: '0.0000025', cost_usd: '0.000440000', charge_usd: '0.000440000' },
            { component: 'cache_read_tokens', quantity: 1024, unit_price: '0.00000125', cost_usd: '0.001280000', charge_usd: '0.001280000' },
            { component: 'output_tokens', quantity: 350, unit_price: '0.00001', cost_usd: '0.003500000', charge_usd: '0.003500000' },
          ],
          price_version: 'genai-prices-0.1.8/openai/gpt-4o',
        },
      ]);
    });

    it("charges by the tenant's rate card, and a tenant's own key gets that without asking", async () => {
      await put('/v1/rate-cards/std', { markup_percent: '10' });
      await put('/v1/plans/paying', { name: 'Paying', rate_card_id: 'std' });
      await put('/v1/tenants/quoted', { plan_id: 'paying' });
      const usage = { input_tokens: 1000 };
      const asked = await quote({ model: 'gpt-4o', usage, tenant_id: 'quoted' });
      const own = await quote({ model: 'gpt-4o', usage }, await api.makeKey({ scopes: ['read'], tenant_id: 'quoted' }));
      expect(asked.body).toMatchObject({ cost_usd: '0.002500000', charge_usd: '0.002750000', price_version: 'genai-prices-0.1.8/openai/gpt-4o;card:std@1' });
      expect(own.body).toEqual(asked.body);
    });

    it('the unknown tenant is charged nothing', async () => {
      expect((await quote({ model: 'gpt-4o', usage: { input_tokens: 1000 }, tenant_id: 'unknown' })).body).toMatchObject({
        cost_usd: '0.002500000',
        charge_usd: '0.000000000',
      });
    });

    it.each([
      [{ model: 'nobodys', usage: { input_tokens: 1 } }, 404, 'price.model_unpriced'],
      [{ model: 'gpt-4o', usage: { images: 1 } }, 404, 'price.component_unpriced'],
      [{ model: 'gpt-4o', usage: {}, tenant_id: 'nobody' }, 404, 'tenant.not_found'],
      [{ model: 'gpt-4o', usage: { input_tokens: 1.5 } }, 400, 'request.invalid'],
      [{ model: 'gpt-4o', usage: { input_tokens: -1 } }, 400, 'request.invalid'],
      [{ model: 'gpt-4o', usage: { tokens: 1 } }, 400, 'request.invalid'],
      [{ model: 'gpt-4o' }, 400, 'request.invalid'],
      [{ model: 'gpt-4o', usage: {}, at: '2026-02-30T00:00:00Z' }, 400, 'request.invalid'],
    ])('%j is %i %s', async (body, status, code) => {
      const answer = await quote(body);
      expect([answer.status, answer.body.code]).toEqual([status, code]);
    });
  });

  describe('PUT /v1/price-overrides/{id}', () => {
    it('answers the revision, shows its history, and prices the next quote', async () => {
      const body = { provider: 'hosted_vllm', model: 'acme', prices: { input_tokens: '0.0000001', output_tokens: '0.0000004' }, reason: 'own hardware' };
      const first = await put('/v1/price-overrides/acme', body);
      expect([first.status, first.body]).toMatchObject([
        200,
        { override_id: 'acme', revision: 1, effective_from: '1970-01-01T00:00:00.000Z', effective_to: null, prices: body.prices },
      ]);
      expect((await quote({ provider: 'hosted_vllm', model: 'hosted_vllm/acme', usage: { input_tokens: 90, output_tokens: 40 } })).body).toMatchObject({
        cost_usd: '0.000025000',
        price_version: 'override:acme@1',
      });
      api.clock.advance(1_000);
      await put('/v1/price-overrides/acme', { ...body, prices: { input_tokens: '0.0000002' } });
      const { body: history } = await api.call('GET', '/v1/price-overrides/acme');
      expect(history).toMatchObject({ revision: 2, revisions: [{ revision: 1 }, { revision: 2, effective_from: api.clock.now().toISOString() }] });
      expect((await api.call('GET', '/v1/price-overrides')).body.data).toMatchObject([{ override_id: 'acme', revision: 2 }]);
    });

    it.each([
      [{ input_tokens: '2.50' }, 'price.invalid', 'prices.input_tokens'],
      [{ input_tokens: 'NaN' }, 'price.invalid', 'prices.input_tokens'],
      [{ tokens: '0.1' }, 'price.invalid', 'prices.tokens'],
      [{}, 'price.invalid', 'prices'],
      [{ input_tokens: 0.1 }, 'request.invalid', 'prices.input_tokens'],
      [{ input_tokens: '0.001' }, 'price.jump', 'prices.input_tokens'],
      [{ input_tokens: '0' }, 'price.jump', 'prices.input_tokens'],
    ])('refuses %j with %s naming %s', async (prices, code, path) => {
      const { status, body } = await put('/v1/price-overrides/refused', { provider: 'openai', model: 'gpt-4o', prices });
      expect([status, body.code, body.errors[0].path]).toEqual([400, code, path]);
      expect((await api.call('GET', '/v1/price-overrides/refused')).status).toBe(404);
    });

    it.each([
      [{ provider: '*', model: 'gpt-4o', prices: { 'meter:x': '1' } }, 'model'],
      [{ provider: '*', model: '*', prices: { input_tokens: '0.000001' } }, 'prices'],
      [
        { provider: 'openai', model: 'gpt-4o', prices: { images: '1' }, effective_from: '2026-11-22T00:00:00Z', effective_to: '2026-11-22T00:00:00Z' },
        'effective_to',
      ],
    ])('refuses %j naming %s', async (body, path) => {
      expect((await put('/v1/price-overrides/refused', body)).body).toMatchObject({ status: 400, code: 'price.invalid', errors: [{ path }] });
    });

    it('a price of 0 is possible for who means it', async () => {
      await put('/v1/price-overrides/free', { provider: 'groq', model: 'llama-3.3-70b-versatile', prices: { input_tokens: '0' }, accept_jump: true });
      expect((await quote({ provider: 'groq', model: 'llama-3.3-70b-versatile', usage: { input_tokens: 9 } })).body).toMatchObject({
        cost_usd: '0.000000000',
        lines: [{ quantity: 9 }],
      });
    });
  });

  describe('PUT /v1/rate-cards/{id}', () => {
    it('answers the card and shows its history', async () => {
      const prices = [{ model: 'gpt-4o', prices: { output_tokens: '0.00002' } }];
      const { status, body } = await put('/v1/rate-cards/gold', { markup_percent: '12.50', prices });
      expect([status, body]).toMatchObject([200, { rate_card_id: 'gold', revision: 1, markup_percent: '12.5', prices: [{ provider: null, ...prices[0] }] }]);
      expect((await api.call('GET', '/v1/rate-cards/gold')).body.revisions).toHaveLength(1);
    });

    it.each(['-101', '1e3', '', 'ten'])('refuses a markup of %p', async (markup_percent) => {
      expect((await put('/v1/rate-cards/refused', { markup_percent })).body).toMatchObject({ status: 400, errors: [{ path: 'markup_percent' }] });
    });
  });

  describe('PUT /v1/model-aliases/{alias}', () => {
    it('prices the name of a gateway', async () => {
      expect((await quote({ model: 'claude-opus', usage: { input_tokens: 1000 } })).status).toBe(404);
      const { status, body } = await put('/v1/model-aliases/claude-opus', { provider: 'anthropic', model: 'claude-opus-4-6' });
      expect([status, body]).toMatchObject([200, { alias: 'claude-opus', source_id: null, provider: 'anthropic', model: 'claude-opus-4-6', learned: false }]);
      expect((await quote({ model: 'claude-opus', usage: { input_tokens: 1000 } })).body).toMatchObject({ cost_usd: '0.005000000', model: 'claude-opus-4-6' });
      expect((await api.call('GET', '/v1/model-aliases')).body.data).toMatchObject([{ alias: 'claude-opus' }]);
    });

    it('takes a name with a slash', async () => {
      expect((await put('/v1/model-aliases/azure%2Fmy-deployment', { provider: 'azure', model: 'gpt-4o' })).body).toMatchObject({
        alias: 'azure/my-deployment',
      });
      expect((await quote({ provider: 'azure', model: 'azure/my-deployment', usage: { input_tokens: 1000 } })).body).toMatchObject({
        provider: 'azure',
        model: 'gpt-4o',
        cost_usd: '0.002500000',
      });
    });
  });

  describe('lists', () => {
    const pages = async (path: string): Promise<{ provider: string; model: string }[]> => {
      const rows: { provider: string; model: string }[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const { body }: ApiAnswer = await api.call('GET', `${path}&limit=500${cursor === '' ? '' : `&cursor=${cursor}`}`);
        rows.push(...body.data);
        cursor = body.next_cursor;
      }
      return rows;
    };

    it('GET /v1/prices gives every model once, page by page', async () => {
      const rows = await pages('/v1/prices?');
      const keys = rows.map((row) => `${row.provider} ${row.model}`);
      expect(new Set(keys).size).toBe(keys.length);
      expect(keys.length).toBeGreaterThan(1_600);
      expect(keys).toEqual(expect.arrayContaining(['openai gpt-4o', 'anthropic claude-sonnet-4-5']));
    });

    it('GET /v1/prices shows tiers and the prices of a time', async () => {
      const { body } = await api.call('GET', '/v1/prices?provider=anthropic&model=claude-sonnet-4-5');
      expect(body.data).toMatchObject([
        {
          prices: { input_tokens: '0.000003', 'meter:web_search': '0.01' },
          tiers: [{ above_input_tokens: 200_000, prices: { input_tokens: '0.000006', 'meter:web_search': '0.01' } }],
        },
      ]);
      const of = async (at: string): Promise<unknown> =>
        (await api.call('GET', `/v1/prices?provider=openai&model=gpt-5.6-sol&at=${at}`)).body.data[0].prices.input_tokens;
      expect([await of('2026-08-20T00:00:00Z'), await of('2026-08-21T00:00:00Z')]).toEqual(['0.000005', '0.000004']);
    });

    it('GET /v1/models shows what the tenant pays, and a bound key only its own tenant', async () => {
      await put('/v1/rate-cards/double', { markup_percent: '100' });
      await put('/v1/plans/double', { name: 'Double', rate_card_id: 'double' });
      await put('/v1/tenants/doubled', { plan_id: 'double' });
      const gpt = async (path: string, key?: string): Promise<unknown> => {
        const { body } = await api.call('GET', path, key === undefined ? {} : { key });
        return body.data.find((row: { model: string }) => row.model === 'gpt-4o')?.prices.input_tokens;
      };
      expect(await gpt('/v1/models?provider=openai&limit=500')).toBe('0.0000025');
      expect(await gpt('/v1/models?provider=openai&limit=500&tenant_id=doubled')).toBe('0.000005');
      const key = await api.makeKey({ scopes: ['read'], tenant_id: 'doubled' });
      expect(await gpt('/v1/models?provider=openai&limit=500', key)).toBe('0.000005');
      expect((await api.call('GET', '/v1/models?tenant_id=quoted', { key })).status).toBe(404);
      expect((await api.call('GET', '/v1/prices', { key })).status).toBe(403);
    });

    it.each(['/v1/prices?cursor=x', '/v1/prices?limit=501', '/v1/prices?colour=red', '/v1/model-aliases?cursor=WyJhIl0', '/v1/models?at=2026-01-01T00:00:00Z'])(
      '%s is 400',
      async (path) => {
        expect((await api.call('GET', path)).status).toBe(400);
      },
    );
  });

  it('only an admin decides prices', async () => {
    const key = await api.makeKey({ scopes: ['read', 'ingest', 'authorize'] });
    for (const path of ['/v1/price-overrides/x', '/v1/rate-cards/x', '/v1/model-aliases/x'])
      expect((await api.call('PUT', path, { key, body: {} })).status).toBe(403);
  });
});
