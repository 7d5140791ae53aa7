import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { raiseAlerts, settleEverything } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

describe('a key with a prepaid balance of its own', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  let events = 0;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  const makeKey = async (tenantId: string, body: object = {}): Promise<any> => {
    const answer = await api.call('POST', `/v1/tenants/${tenantId}/keys`, { body: { name: 'app', ...body } });
    if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
    return answer.body;
  };
  const credit = async (tenantId: string, apiKeyId: string, body: object, key?: string): Promise<ApiAnswer> =>
    await api.call('POST', `/v1/tenants/${tenantId}/keys/${apiKeyId}/credits`, { body, ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) });
  const prepaidOf = async (tenantId: string, apiKeyId: string): Promise<any> =>
    (await api.call('GET', `/v1/tenants/${tenantId}/keys/${apiKeyId}`)).body.prepaid;
  const ask = async (tenantId: string, key: string, costUsd: string, more: object = {}): Promise<any> =>
    (await quota.askFor(tenantId, costUsd, { api_key: key, ...more })).body;
  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await api.call('POST', `/v1/holds/${holdId}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };
  /** gpt-4o: ten dollars per million output tokens. */
  const spend = async (tenantId: string, cents: number, more: object): Promise<void> => {
    events += 1;
    await quota.report({ event_id: `key-${events}`, tenant_id: tenantId, usage: { output_tokens: cents * 1_000 }, ...more });
  };

  it('is held and burnt by the calls of that key in the same step as the wallet, and seen on the key', async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const { api_key_id: id, key, prepaid } = await makeKey(tenantId, { prepaid_usd: '1.00' });
    expect(prepaid).toEqual({ granted_usd: '1.000000000', used_usd: '0.000000000', held_usd: '0.000000000', available_usd: '1.000000000' });
    const { hold, limits } = await ask(tenantId, key, '0.40');
    expect(limits.find((limit: { kind: string }) => limit.kind === 'key')).toMatchObject({
      id,
      metric: 'usd',
      limit: '1.000000000',
      held: '0.400000000',
      resets_at: null,
    });
    expect(await prepaidOf(tenantId, id)).toMatchObject({ held_usd: '0.400000000', available_usd: '0.600000000' });
    await settle(hold.hold_id, '0.25');
    await spend(tenantId, 5, { api_key_id: id });
    await spend(tenantId, 100, { api_key_id: 'some other key' });
    expect(await prepaidOf(tenantId, id)).toEqual({
      granted_usd: '1.000000000',
      used_usd: '0.300000000',
      held_usd: '0.000000000',
      available_usd: '0.700000000',
    });
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '8.700000000' });
    const { body } = await api.call('GET', `/v1/tenants/${tenantId}/limits?api_key_id=${id}`);
    expect(body.data.map((limit: any) => [limit.kind, limit.id, limit.remaining])).toEqual([
      ['wallet', tenantId, '8.700000000'],
      ['key', id, '0.700000000'],
    ]);
  });

  it('refuses in the words of a wallet: gone, too large for what is left, held by running calls; and again after a credit', async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '0.50' });
    const reason = async (costUsd: string): Promise<any> => (await ask(tenantId, key, costUsd)).reason;
    expect(await reason('0.51')).toMatchObject({ code: 'too_large', scope: 'key', budget_id: null, retry_after_ms: null });
    const { hold } = await ask(tenantId, key, '0.50');
    expect(await reason('0.10')).toMatchObject({ code: 'in_flight_exhausted', scope: 'key', retry_after_ms: 1_000 });
    await settle(hold.hold_id, '0.45');
    expect(await reason('0.10')).toMatchObject({ code: 'too_large', scope: 'key' });
    await spend(tenantId, 5, { api_key_id: id });
    const gone = {
      code: 'insufficient_funds',
      scope: 'key',
      budget_id: null,
      message: 'the prepaid balance of this key is used up; credit the key',
      retry_after_ms: null,
    };
    expect(await reason('0.01')).toEqual(gone);
    expect(await reason('5')).toEqual(gone);
    const http = await api.call('GET', '/v1/authorize/forward/x', {
      headers: { 'x-tollgate-tenant-id': tenantId, 'x-tollgate-api-key-id': id, 'x-tollgate-model': 'gpt-4o', 'x-tollgate-estimated-cost-usd': '0.01' },
    });
    expect(http.status).toBe(402);
    // Another key of the tenant is not held to it.
    expect((await ask(tenantId, (await makeKey(tenantId)).key, '0.10')).decision).toBe('allow');
    expect((await credit(tenantId, id, { amount_usd: '0.20' })).status).toBe(201);
    expect((await ask(tenantId, key, '0.20')).decision).toBe('allow');
    expect(await prepaidOf(tenantId, id)).toEqual({
      granted_usd: '0.700000000',
      used_usd: '0.500000000',
      held_usd: '0.200000000',
      available_usd: '0.000000000',
    });
  });

  it('500 parallel calls on a key with one dollar: exactly those pass that fit, and all that fit', async () => {
    const tenantId = await quota.makeTenant({}, '1000');
    const { key } = await makeKey(tenantId, { prepaid_usd: '1.00' });
    const answers = await Promise.all(Array.from({ length: 500 }, async () => await ask(tenantId, key, '0.01')));
    expect(answers.filter(({ decision }) => decision === 'allow')).toHaveLength(100);
    expect(new Set(answers.filter(({ decision }) => decision === 'block').map(({ reason }) => `${reason.code} ${reason.scope}`))).toEqual(
      new Set(['in_flight_exhausted key']),
    );
  });

  it("is an allowance inside the tenant's money: without it nothing passes, whatever the key has", async () => {
    const tenantId = await quota.makeTenant({}, '0.10');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '5.00' });
    expect((await ask(tenantId, key, '0.20')).reason).toMatchObject({ code: 'too_large', scope: 'tenant' });
    const { hold } = await ask(tenantId, key, '0.10');
    await settle(hold.hold_id, '0.10');
    expect((await ask(tenantId, key, '0.01')).reason).toMatchObject({ code: 'insufficient_funds', scope: 'tenant' });
    await credit(tenantId, id, { amount_usd: '5.00' });
    expect((await ask(tenantId, key, '0.01')).reason).toMatchObject({ code: 'insufficient_funds', scope: 'tenant' });
  });

  it('a credit counts once under its Idempotency-Key, each without one, and is in the audit trail', async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const { api_key_id: id } = await makeKey(tenantId, { prepaid_usd: '0' });
    const first = await credit(tenantId, id, { amount_usd: '1.00', reference: 'invoice 7' }, 'k1');
    expect(first.body).toEqual({
      credit_id: expect.any(String),
      api_key_id: id,
      amount_usd: '1.000000000',
      reference: 'invoice 7',
      created_at: expect.any(String),
    });
    const again = await Promise.all(Array.from({ length: 5 }, async () => await credit(tenantId, id, { amount_usd: '1.00', reference: 'invoice 7' }, 'k1')));
    expect(again.map(({ body }) => body)).toEqual(Array(5).fill(first.body));
    const other = await credit(tenantId, id, { amount_usd: '2.00', reference: 'invoice 7' }, 'k1');
    expect([other.status, other.body.code]).toEqual([409, 'idempotency.conflict']);
    await Promise.all(Array.from({ length: 5 }, async () => await credit(tenantId, id, { amount_usd: '0.10' })));
    expect((await prepaidOf(tenantId, id)).granted_usd).toBe('1.500000000');
    const { body } = await api.call('GET', `/v1/audit?tenant_id=${tenantId}&limit=500`);
    const entries = body.data.filter((entry: any) => entry.action === 'api_key.credited' && entry.entity_id === id);
    expect(entries.map((entry: any) => String(entry.after.granted_usd)).sort()).toEqual(
      ['0.0', '1.0', '1.1', '1.2', '1.3', '1.4', '1.5'].map((usd) => `${usd}00000000`),
    );
    expect((await credit(tenantId, id, { amount_usd: '8999999' })).body.code).toBe('balance.out_of_range');
  });

  it("is given to a key when it is made and never later; a revoked key takes no credit, a stranger's is not found", async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const plain = await makeKey(tenantId);
    expect(plain.prepaid).toBeNull();
    expect((await credit(tenantId, plain.api_key_id, { amount_usd: '1' })).body.code).toBe('api_key.not_prepaid');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '1.00' });
    const stranger = await quota.makeTenant();
    expect((await credit(stranger, id, { amount_usd: '1' })).body.code).toBe('api_key.not_found');
    expect((await api.call('GET', `/v1/tenants/${stranger}/keys/${id}`)).status).toBe(404);
    const rotated = await api.call('POST', `/v1/tenants/${tenantId}/keys/${id}/rotate`, { body: {} });
    expect([rotated.status, rotated.body.code]).toEqual([409, 'api_key.prepaid']);
    const revoked = await api.call('DELETE', `/v1/tenants/${tenantId}/keys/${id}`);
    expect(revoked.body.prepaid).toMatchObject({ granted_usd: '1.000000000' });
    expect((await ask(tenantId, key, '0.10')).reason.code).toBe('key_revoked');
    expect((await credit(tenantId, id, { amount_usd: '1' })).body.code).toBe('api_key.not_live');
  });

  it('cannot be reached through the budgets of the tenant: not listed, not changed, not paused, not deleted, not made', async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '0.10' });
    const path = `/v1/tenants/${tenantId}/budgets`;
    expect((await api.call('GET', path)).body.data).toEqual([]);
    const body = { period: 'total', limit_usd: '1000' };
    const tries = [
      await api.call('PUT', `${path}/prepaid:${id}`, { body }),
      await api.call('GET', `${path}/prepaid:${id}`),
      await api.call('GET', `${path}/prepaid:${id}/status`),
      await api.call('POST', `${path}/prepaid:${id}/pause`, { body: {} }),
      await api.call('POST', `${path}/prepaid:${id}/top-ups`, { body: { amount_usd: '5' } }),
      await api.call('DELETE', `${path}/prepaid:${id}`),
    ];
    expect(tries.map(({ status }) => status)).toEqual([400, 404, 404, 404, 404, 404]);
    expect((await ask(tenantId, key, '0.11')).reason).toMatchObject({ code: 'too_large', scope: 'key' });
  });

  it('is the same after a restart, and a key whose balance was never opened spends nothing', async () => {
    const tenantId = await quota.makeTenant({ hold_durability: 'strict' }, '10.00');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '1.00' });
    const { hold } = await ask(tenantId, key, '0.30');
    await ask(tenantId, key, '0.20');
    await settle(hold.hold_id, '0.10');
    const before = await prepaidOf(tenantId, id);
    expect(before).toMatchObject({ used_usd: '0.100000000', held_usd: '0.200000000', available_usd: '0.700000000' });
    await quota.rebuild();
    expect(await prepaidOf(tenantId, id)).toEqual(before);
    // As a process leaves it that dies between the key and its balance; nobody was told the key's text then, but its id can be named.
    const half = await makeKey(tenantId);
    await api.database.db.execute('UPDATE tenancy.api_key SET prepaid = true WHERE api_key_id = $1', [half.api_key_id.slice(3)]);
    expect((await ask(tenantId, half.key, '0.01')).reason).toMatchObject({ code: 'insufficient_funds', scope: 'key' });
    await credit(tenantId, half.api_key_id, { amount_usd: '1.00' });
    expect((await ask(tenantId, half.key, '0.01')).decision).toBe('allow');
  });

  it('F19 that was known not to cover a call does not cover it while the quota state is away', async () => {
    const tenantId = await quota.makeTenant({ on_store_failure: 'allow' }, '10.00');
    const { api_key_id: id, key } = await makeKey(tenantId, { prepaid_usd: '0.10' });
    expect((await ask(tenantId, key, '0.20')).reason.code).toBe('too_large');
    api.fence.lose();
    expect(await ask(tenantId, key, '0.20')).toMatchObject({ decision: 'block', degraded: true });
    expect(await quota.askFor(tenantId, '0.20')).toMatchObject({ body: { decision: 'allow', degraded: true } });
    expect(await prepaidOf(tenantId, id)).toEqual({ granted_usd: '0.100000000', used_usd: '0.000000000', held_usd: null, available_usd: null });
    await api.fence.retake(api.database.db);
  });

  it("that runs low and out is told as the key's", async () => {
    const tenantId = await quota.makeTenant({}, '10.00');
    const { api_key_id: id } = await makeKey(tenantId, { prepaid_usd: '1.00' });
    await spend(tenantId, 100, { api_key_id: id });
    await raiseAlerts(api.app);
    const { body } = await api.call('GET', `/v1/alerts?tenant_id=${tenantId}&kind=threshold.crossed`);
    expect(body.data.map(({ severity, subject }: any) => [severity, subject.percent, subject.api_key_id, subject.budget_id].join(' ')).sort()).toEqual([
      `critical 100 ${id} `,
      `info 80 ${id} `,
    ]);
  });
});
