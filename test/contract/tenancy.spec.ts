import { startTestApi, type TestApi } from '../support/api.js';

describe('tenants, plans and service keys over HTTP', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(async () => await api.close());

  describe('PUT /v1/tenants/{tenant_id}', () => {
    it('creates a tenant with the defaults of the contract', async () => {
      const answer = await api.call('PUT', '/v1/tenants/defaults', { body: {} });
      expect(answer.status).toBe(201);
      expect(answer.body).toEqual({
        tenant_id: 'defaults',
        name: null,
        plan_id: null,
        billing: 'prepaid',
        credit_limit_usd: '0.000000000',
        enforcement: 'enforce',
        on_store_failure: 'allow_capped',
        hold_durability: 'fast',
        unresolved_policy: null,
        status: 'active',
        timezone: 'UTC',
        owner: null,
        stripe_customer_id: null,
        auto_created: false,
        created_at: '2026-11-22T12:00:00.000Z',
        updated_at: '2026-11-22T12:00:00.000Z',
      });
      expect((await api.call('GET', '/v1/tenants/defaults')).body).toEqual(answer.body);
    });

    it('changes only the fields it names and clears those that are null', async () => {
      await api.call('PUT', '/v1/tenants/kept', {
        body: { name: 'Kept Ltd', status: 'suspended', credit_limit_usd: '12.5', owner: { email: 'a@example.com' } },
      });
      const changed = await api.call('PUT', '/v1/tenants/kept', { body: { name: null, timezone: 'Europe/Berlin' } });
      expect(changed.status).toBe(200);
      expect(changed.body).toMatchObject({
        name: null,
        status: 'suspended',
        credit_limit_usd: '12.500000000',
        timezone: 'Europe/Berlin',
        owner: { email: 'a@example.com', channel_ids: [] },
      });
    });

    it.each([
      ['an unknown field', { colour: 'red' }, 'colour'],
      ['an unknown nested field', { owner: { phone: '1' } }, 'owner.phone'],
      ['money as a number', { credit_limit_usd: 5 }, 'credit_limit_usd'],
      ['negative money', { credit_limit_usd: '-1' }, 'credit_limit_usd'],
      ['ten decimals', { credit_limit_usd: '0.0000000001' }, 'credit_limit_usd'],
      ['a zone that does not exist', { timezone: 'Mars/Olympus' }, 'timezone'],
      ['a plan that does not exist', { plan_id: 'nope' }, 'plan_id'],
      ['a NUL in a name', { name: 'a\u0000b' }, 'name'],
      ['a lone surrogate in a name', { name: 'a\ud800b' }, 'name'],
      ['a zero-width character in a name', { name: 'a\u200bb' }, 'name'],
    ])('refuses %s, naming the field, and creates nothing', async (_what, body, path) => {
      const answer = await api.call('PUT', '/v1/tenants/refused', { body });
      expect(answer.status).toBe(400);
      expect(answer.body.errors.map((problem: { path: string }) => problem.path)).toContain(path);
      expect((await api.call('GET', '/v1/tenants/refused')).status).toBe(404);
    });

    it('never changes the reserved tenant', async () => {
      expect(await api.call('PUT', '/v1/tenants/unknown', { body: { name: 'mine' } })).toMatchObject({ status: 409, body: { code: 'tenant.reserved' } });
      expect(await api.call('GET', '/v1/tenants/unknown')).toMatchObject({ status: 200, body: { enforcement: 'off' } });
    });

    it('takes the rate card of its plan', async () => {
      await api.call('PUT', '/v1/plans/gold', { body: { name: 'Gold', rate_card_id: 'card-1' } });
      expect((await api.call('PUT', '/v1/tenants/on-gold', { body: { plan_id: 'gold' } })).status).toBe(201);
      expect(await api.call('GET', '/v1/plans/gold')).toMatchObject({ status: 200, body: { plan_id: 'gold', name: 'Gold', rate_card_id: 'card-1' } });
    });
  });

  it('walks a list page by page without missing or repeating a tenant', async () => {
    for (const id of ['page-1', 'page-2', 'page-3', 'päge-4']) await api.call('PUT', `/v1/tenants/${encodeURIComponent(id)}`, { body: {} });
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await api.call('GET', `/v1/tenants?limit=2${cursor === null ? '' : `&cursor=${cursor}`}`);
      expect(page.body.data.length).toBeLessThanOrEqual(2);
      seen.push(...page.body.data.map((tenant: { tenant_id: string }) => tenant.tenant_id));
      cursor = page.body.next_cursor;
    } while (cursor !== null);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(['page-1', 'page-2', 'page-3', 'päge-4', 'unknown']));
    expect((await api.call('GET', '/v1/tenants?limit=501')).status).toBe(400);
    expect((await api.call('GET', '/v1/tenants?cursor=bogus')).status).toBe(400);
  });

  describe('service keys', () => {
    it('shows a key once, in the documented form, and never stores it', async () => {
      const made = await api.call('POST', '/v1/service-keys', { body: { name: 'ci', scopes: ['read'] } });
      expect(made.status).toBe(201);
      expect(made.body.key).toMatch(/^tg_live_[0-9a-z]{16}_[0-9a-z]{38}$/);
      const listed = await api.call('GET', '/v1/service-keys');
      expect(JSON.stringify(listed.body)).not.toContain(made.body.key);
      const rows = await api.database.db.query<{ dump: string }>('SELECT k::text AS dump FROM tenancy.service_key k');
      expect(rows.map((row) => row.dump).join()).not.toContain((made.body.key as string).split('_')[3]);
      expect((await api.call('GET', '/v1/tenants', { key: made.body.key })).status).toBe(200);
    });

    it('refuses a revoked key at once', async () => {
      const made = await api.call('POST', '/v1/service-keys', { body: { name: 'short-lived', scopes: ['read'] } });
      expect((await api.call('GET', '/v1/tenants', { key: made.body.key })).status).toBe(200);
      expect(await api.call('DELETE', `/v1/service-keys/${made.body.key_id}`)).toMatchObject({ status: 200, body: { revoked_at: '2026-11-22T12:00:00.000Z' } });
      expect(await api.call('GET', '/v1/tenants', { key: made.body.key })).toMatchObject({ status: 401, body: { code: 'auth.invalid' } });
    });

    it('keeps two keys of a line live while rotating, and no third', async () => {
      const first = await api.call('POST', '/v1/service-keys', { body: { name: 'rotated', scopes: ['read'] } });
      const second = await api.call('POST', `/v1/service-keys/${first.body.key_id}/rotate`);
      expect(second).toMatchObject({ status: 201, body: { replaces: first.body.key_id, scopes: ['read'] } });
      for (const key of [first.body.key, second.body.key]) expect((await api.call('GET', '/v1/tenants', { key })).status).toBe(200);
      for (const id of [first.body.key_id, second.body.key_id]) {
        expect(await api.call('POST', `/v1/service-keys/${id}/rotate`)).toMatchObject({ status: 409, body: { code: 'service_key.two_live' } });
      }
      await api.call('DELETE', `/v1/service-keys/${first.body.key_id}`);
      expect((await api.call('GET', '/v1/tenants', { key: first.body.key })).status).toBe(401);
      expect((await api.call('POST', `/v1/service-keys/${second.body.key_id}/rotate`)).status).toBe(201);
      expect(await api.call('POST', `/v1/service-keys/${first.body.key_id}/rotate`)).toMatchObject({ status: 409, body: { code: 'service_key.not_live' } });
    });

    it('refuses an expired key', async () => {
      const made = await api.call('POST', '/v1/service-keys', { body: { name: 'expiring', scopes: ['read'], expires_at: '2026-11-22T12:00:10Z' } });
      expect((await api.call('GET', '/v1/tenants', { key: made.body.key })).status).toBe(200);
      api.clock.set('2026-11-22T12:00:10Z');
      expect((await api.call('GET', '/v1/tenants', { key: made.body.key })).status).toBe(401);
      api.clock.set('2026-11-22T12:00:00Z');
    });

    it('lets an admin key bound to a tenant manage that tenant alone', async () => {
      for (const id of ['own', 'other']) await api.call('PUT', `/v1/tenants/${id}`, { body: {} });
      const key = await api.makeKey({ scopes: ['admin'], tenant_id: 'own' });
      const foreign = await api.call('POST', '/v1/service-keys', { body: { name: 'foreign', scopes: ['read'], tenant_id: 'other' } });
      const made = await api.call('POST', '/v1/service-keys', { key, body: { name: 'inherits the tenant', scopes: ['admin'] } });
      expect(made).toMatchObject({ status: 201, body: { tenant_id: 'own' } });
      expect((await api.call('POST', '/v1/service-keys', { key, body: { name: 'x', scopes: ['read'], tenant_id: 'other' } })).status).toBe(404);
      expect((await api.call('DELETE', `/v1/service-keys/${foreign.body.key_id}`, { key })).status).toBe(404);
      expect((await api.call('POST', `/v1/service-keys/${foreign.body.key_id}/rotate`, { key })).status).toBe(404);
      const listed = await api.call('GET', '/v1/service-keys', { key });
      expect(new Set(listed.body.data.map((row: { tenant_id: string }) => row.tenant_id))).toEqual(new Set(['own']));
      const tenants = await api.call('GET', '/v1/tenants', { key });
      expect(tenants.body.data.map((row: { tenant_id: string }) => row.tenant_id)).toEqual(['own']);
      const audit = await api.call('GET', '/v1/audit', { key });
      expect(new Set(audit.body.data.map((row: { tenant_id: string }) => row.tenant_id))).toEqual(new Set(['own']));
      expect((await api.call('PUT', '/v1/plans/p', { key, body: { name: 'P' } })).status).toBe(403);
      expect((await api.call('PUT', '/v1/tenants/other', { key, body: { name: 'taken' } })).status).toBe(404);
      expect((await api.call('PUT', '/v1/tenants/own', { key, body: { name: 'mine' } })).status).toBe(200);
    });
  });

  it('writes who changed what, from what to what, and nothing for a change that changes nothing', async () => {
    const key = await api.makeKey({ scopes: ['admin'] });
    await api.call('PUT', '/v1/tenants/audited', { body: { name: 'one' } });
    await api.call('PUT', '/v1/tenants/audited', { key, body: { name: 'two' }, headers: { 'x-request-id': 'change-2' } });
    await api.call('PUT', '/v1/tenants/audited', { key, body: { name: 'two' } });
    const audit = await api.call('GET', '/v1/audit?tenant_id=audited&entity=tenant');
    expect(audit.body.data).toHaveLength(2);
    expect(audit.body.data[0]).toMatchObject({
      action: 'tenant.updated',
      entity_id: 'audited',
      before: { name: 'one' },
      after: { name: 'two' },
      request_id: 'change-2',
    });
    expect(audit.body.data[0].actor).toMatch(/^key:key_/);
    expect(audit.body.data[1]).toMatchObject({ action: 'tenant.created', actor: 'admin', before: null });
    const first = await api.call('GET', '/v1/audit?tenant_id=audited&limit=1');
    const rest = await api.call('GET', `/v1/audit?tenant_id=audited&limit=1&cursor=${first.body.next_cursor}`);
    expect([first.body.data[0].action, rest.body.data[0].action]).toEqual(['tenant.updated', 'tenant.created']);
    expect((await api.call('GET', '/v1/audit?tenant_id=audited&to=2026-11-22T12:00:00Z')).body.data).toEqual([]);
  });
});
