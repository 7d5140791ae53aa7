import { ledgerOn } from '#libs/ledger/testing/ledger-fixture.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { sequenceOf } from '../support/ledger-figures.js';

const MISSING_LOT = 'lot_00000000-0000-7000-8000-000000000000';

describe('the money routes', () => {
  let api: TestApi;
  let tenants = 0;

  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(async () => {
    await api.close();
  });

  async function makeTenant(fields: object = {}): Promise<string> {
    tenants += 1;
    const tenantId = `money-${tenants}`;
    expect((await api.call('PUT', `/v1/tenants/${tenantId}`, { body: fields })).status).toBeLessThan(300);
    return tenantId;
  }

  async function spend(tenantId: string, chargeNano: bigint, name = 'event'): Promise<void> {
    const items = [{ eventId: name, provider: 'openai', costNano: 1n, chargeNano }];
    await ledgerOn(api.database.db, api.clock).post({ tenantId, occurredAt: api.clock.now(), items, idemKey: name });
  }

  const grant = async (tenantId: string, body: object, headers: Record<string, string> = {}) =>
    await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body, headers });
  const balance = async (tenantId: string) => (await api.call('GET', `/v1/tenants/${tenantId}/balance`)).body;

  describe('credits', () => {
    it('answers 201 with the lot, its transaction and the balance after it', async () => {
      const tenantId = await makeTenant();
      const answer = await grant(tenantId, {
        amount_usd: '12.345678901',
        kind: 'paid',
        priority: 7,
        expires_at: '2999-01-01T00:00:00Z',
        reference: 'invoice 1',
      });
      expect(answer.status).toBe(201);
      expect(answer.body).toEqual({
        lot_id: expect.stringMatching(/^lot_[0-9a-f-]{36}$/),
        tenant_id: tenantId,
        kind: 'paid',
        granted_usd: '12.345678901',
        remaining_usd: '12.345678901',
        priority: 7,
        expires_at: '2999-01-01T00:00:00.000Z',
        created_at: expect.any(String),
        voided_at: null,
        reference: 'invoice 1',
        transaction_id: expect.stringMatching(/^txn_[0-9a-f-]{36}$/),
        collected_usd: '0.000000000',
        balance: { posted_usd: '12.345678901', receivable_usd: '0.000000000' },
      });
    });

    it.each([
      ['prepaid', 'paid', '0.000000030', '0.000000000'],
      ['prepaid', 'promo', '0.000000000', '0.000000030'],
      ['postpaid', 'paid', '0.000000000', '0.000000030'],
    ])('collects the debt of a %s tenant from a new %s lot: %s', async (billing, kind, collected, owed) => {
      const tenantId = await makeTenant({ billing });
      await spend(tenantId, 30n);
      const { body } = await grant(tenantId, { amount_usd: '0.0000001', kind });
      expect(body.collected_usd).toBe(collected);
      expect(body.balance).toEqual({ posted_usd: '0.000000070', receivable_usd: owed });
    });

    it.each([
      ['no amount', { kind: 'paid' }, 'amount_usd'],
      ['an amount as a number', { kind: 'paid', amount_usd: 1 }, 'amount_usd'],
      ['zero', { kind: 'paid', amount_usd: '0' }, 'amount_usd'],
      ['a negative amount', { kind: 'paid', amount_usd: '-1' }, 'amount_usd'],
      ['ten decimals', { kind: 'paid', amount_usd: '1.0000000001' }, 'amount_usd'],
      ['an exponent', { kind: 'paid', amount_usd: '1e3' }, 'amount_usd'],
      ['more than 9,000,000 USD', { kind: 'paid', amount_usd: '9000000.000000001' }, 'amount_usd'],
      ['another kind', { kind: 'gift', amount_usd: '1' }, 'kind'],
      ['an expiry in the past', { kind: 'paid', amount_usd: '1', expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
      ['a day that does not exist', { kind: 'paid', amount_usd: '1', expires_at: '2990-02-30T00:00:00Z' }, 'expires_at'],
      ['a priority above 100', { kind: 'paid', amount_usd: '1', priority: 101 }, 'priority'],
      ['a NUL in the reference', { kind: 'paid', amount_usd: '1', reference: 'a\u0000b' }, 'reference'],
      ['an unknown field', { kind: 'paid', amount_usd: '1', colour: 'red' }, 'colour'],
    ])('refuses %s with a 400 that names the field, and moves nothing', async (_case, body, path) => {
      const tenantId = await makeTenant();
      const answer = await grant(tenantId, body);
      expect(answer.status).toBe(400);
      expect(answer.body.errors).toEqual([expect.objectContaining({ path })]);
      expect(await sequenceOf(api.database.db, tenantId)).toEqual([]);
    });

    it('refuses what would take a tenant beyond 9,000,000 USD', async () => {
      const tenantId = await makeTenant();
      expect((await grant(tenantId, { kind: 'paid', amount_usd: '9000000' })).status).toBe(201);
      expect(await grant(tenantId, { kind: 'paid', amount_usd: '0.000000001' })).toMatchObject({ status: 400, body: { code: 'balance.out_of_range' } });
    });
  });

  describe('void', () => {
    it('takes back what is left, once', async () => {
      const tenantId = await makeTenant();
      const { lot_id: lotId } = (await grant(tenantId, { amount_usd: '0.0000001', kind: 'paid' })).body;
      await spend(tenantId, 30n);
      const voided = await api.call('POST', `/v1/credits/${lotId}/void`, { body: { reason: 'paid twice' } });
      expect(voided).toMatchObject({
        status: 200,
        body: { lot_id: lotId, voided_usd: '0.000000070', remaining_usd: '0.000000000', voided_at: expect.any(String) },
      });
      expect((await balance(tenantId)).posted_usd).toBe('0.000000000');
      expect(await api.call('POST', `/v1/credits/${lotId}/void`)).toMatchObject({ status: 409, body: { code: 'credit.already_voided' } });
    });

    it("answers the same 404 for a lot that does not exist, for no lot's id, and for another tenant's lot", async () => {
      const mine = await makeTenant();
      const theirs = await makeTenant();
      const { lot_id: foreign } = (await grant(theirs, { amount_usd: '1', kind: 'paid' })).body;
      const key = await api.makeKey({ scopes: ['admin'], tenant_id: mine });
      const answers = await Promise.all([MISSING_LOT, 'nonsense', foreign].map(async (lotId) => await api.call('POST', `/v1/credits/${lotId}/void`, { key })));
      for (const { status, body } of answers) expect([status, body.code, body.detail]).toEqual([404, 'credit.not_found', 'there is no such credit']);
      expect((await balance(theirs)).posted_usd).toBe('1.000000000');
    });
  });

  describe('adjustments', () => {
    const adjust = async (tenantId: string, body: object) => await api.call('POST', `/v1/tenants/${tenantId}/adjustments`, { body });

    it('takes like usage and gives by paying a debt first', async () => {
      const tenantId = await makeTenant();
      expect(await adjust(tenantId, { amount_usd: '-0.00000003', reason: 'outage' })).toMatchObject({
        status: 201,
        body: { amount_usd: '-0.000000030', lot_id: null, balance: { posted_usd: '-0.000000030', receivable_usd: '0.000000030' } },
      });
      expect(await adjust(tenantId, { amount_usd: '0.0000001', reason: 'goodwill' })).toMatchObject({
        status: 201,
        body: { lot_id: expect.stringMatching(/^lot_/), balance: { posted_usd: '0.000000070', receivable_usd: '0.000000000' } },
      });
      expect((await balance(tenantId)).lots).toMatchObject([{ kind: 'promo', granted_usd: '0.000000070', expires_at: null, priority: 50 }]);
    });

    it.each([
      ['zero', { amount_usd: '0', reason: 'x' }, 'amount_usd'],
      ['no reason', { amount_usd: '1' }, 'reason'],
      ['a blank reason', { amount_usd: '1', reason: ' ' }, 'reason'],
    ])('refuses %s', async (_case, body, path) => {
      const answer = await adjust(await makeTenant(), body);
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ path }] } });
    });
  });

  describe('L6 Idempotency-Key', () => {
    it.each([
      ['credits', { amount_usd: '1', kind: 'paid' }, { amount_usd: '2', kind: 'paid' }],
      ['adjustments', { amount_usd: '-1', reason: 'a' }, { amount_usd: '-1', reason: 'b' }],
    ])('%s: the first answer again word for word, and 409 for another body', async (route, body, other) => {
      const tenantId = await makeTenant();
      const path = `/v1/tenants/${tenantId}/${route}`;
      const headers = { 'idempotency-key': 'käse-1' };
      const send = async (sent: object) => {
        const response = await fetch(api.url + path, {
          method: 'POST',
          headers: {
            ...headers,
            'idempotency-key': Buffer.from(headers['idempotency-key']).toString('latin1'),
            authorization: `Bearer ${api.adminKey}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify(sent),
        });
        return { status: response.status, text: await response.text() };
      };
      const first = await send(body);
      expect(first.status).toBe(201);
      await spend(tenantId, 5n);
      expect(await send(Object.fromEntries(Object.entries(body).toReversed()))).toEqual(first);
      const conflict = await send(other);
      expect([conflict.status, JSON.parse(conflict.text).code]).toEqual([409, 'idempotency.conflict']);
      expect(await sequenceOf(api.database.db, tenantId)).toEqual([1n, 2n]);
    });

    it('void: the first answer again, and 409 for another lot', async () => {
      const tenantId = await makeTenant();
      const lots = [await grant(tenantId, { amount_usd: '1', kind: 'paid' }), await grant(tenantId, { amount_usd: '1', kind: 'paid' })].map(
        (answer) => answer.body.lot_id,
      );
      const headers = { 'idempotency-key': 'void-1' };
      const first = await api.call('POST', `/v1/credits/${lots[0]}/void`, { headers });
      expect(first.status).toBe(200);
      expect((await api.call('POST', `/v1/credits/${lots[0]}/void`, { headers })).body).toEqual(first.body);
      expect(await api.call('POST', `/v1/credits/${lots[1]}/void`, { headers })).toMatchObject({ status: 409, body: { code: 'idempotency.conflict' } });
    });

    it('8 equal requests at once move money once and answer alike', async () => {
      const tenantId = await makeTenant();
      const answers = await Promise.all(
        Array.from({ length: 8 }, async () => await grant(tenantId, { amount_usd: '1', kind: 'paid' }, { 'idempotency-key': 'once' })),
      );
      expect(new Set(answers.map(({ status, body }) => `${status} ${JSON.stringify(body)}`)).size).toBe(1);
      expect((await balance(tenantId)).posted_usd).toBe('1.000000000');
    });

    it('the same key serves another tenant and another operation on its own', async () => {
      const headers = { 'idempotency-key': 'shared' };
      const [one, two] = [await makeTenant(), await makeTenant()];
      expect((await grant(one, { amount_usd: '1', kind: 'paid' }, headers)).status).toBe(201);
      expect((await grant(two, { amount_usd: '2', kind: 'paid' }, headers)).status).toBe(201);
      expect((await api.call('POST', `/v1/tenants/${one}/adjustments`, { body: { amount_usd: '-1', reason: 'x' }, headers })).status).toBe(201);
    });
  });

  describe('balance', () => {
    it('has every field of the contract, lots in burn order', async () => {
      const tenantId = await makeTenant({ credit_limit_usd: '5' });
      await grant(tenantId, { amount_usd: '2', kind: 'paid' });
      await grant(tenantId, { amount_usd: '1', kind: 'promo' });
      await spend(tenantId, 250_000_000n);
      expect(await balance(tenantId)).toEqual({
        posted_usd: '2.750000000',
        held_usd: '0.000000000',
        available_usd: '7.750000000',
        unresolved_usd: '0.000000000',
        credit_limit_usd: '5.000000000',
        receivable_usd: '0.000000000',
        lots: [
          { lot_id: expect.any(String), kind: 'promo', granted_usd: '1.000000000', remaining_usd: '0.750000000', expires_at: null, priority: 50 },
          { lot_id: expect.any(String), kind: 'paid', granted_usd: '2.000000000', remaining_usd: '2.000000000', expires_at: null, priority: 50 },
        ],
        as_of: expect.any(String),
      });
    });

    it('of a tenant without money is zero', async () => {
      expect(await balance(await makeTenant())).toMatchObject({ posted_usd: '0.000000000', available_usd: '0.000000000', lots: [] });
    });
  });

  describe('entries', () => {
    it('lists transactions in booking order with their transfers, a page at a time', async () => {
      const tenantId = await makeTenant();
      await grant(tenantId, { amount_usd: '1', kind: 'paid', reference: 'first' });
      await spend(tenantId, 10n, 'a');
      await spend(tenantId, 20n, 'b');
      const path = `/v1/tenants/${tenantId}/ledger`;
      const first = (await api.call('GET', `${path}?limit=2`)).body;
      expect(first.data.map((entry: { seq: number; kind: string }) => [entry.seq, entry.kind])).toEqual([
        [1, 'grant'],
        [2, 'spend'],
      ]);
      expect(first.data[0]).toMatchObject({
        actor: 'admin',
        reference: 'first',
        transfers: [{ debit: 'clearing:manual', credit: expect.stringMatching(/^lot:/), amount_usd: '1.000000000' }],
      });
      expect(first.data[1].transfers[1]).toEqual({ debit: 'cost:openai', credit: 'payable:openai', amount_usd: '0.000000001' });
      const second = (await api.call('GET', `${path}?limit=2&cursor=${first.next_cursor}`)).body;
      expect(second).toMatchObject({ data: [{ seq: 3 }], next_cursor: null });

      const [{ booked_at: bookedAt }] = first.data;
      expect((await api.call('GET', `${path}?to=${bookedAt}`)).body.data).toEqual([]);
      expect((await api.call('GET', `${path}?from=${bookedAt}`)).body.data).toHaveLength(3);
      expect((await api.call('GET', `${path}?from=2999-01-01T00:00:00Z`)).body.data).toEqual([]);
    });

    it.each(['cursor=nonsense', `cursor=${Buffer.from('["1e9"]').toString('base64url')}`, 'from=yesterday', 'limit=0', 'colour=red'])(
      'refuses ?%s',
      async (query) => {
        expect((await api.call('GET', `/v1/tenants/${await makeTenant()}/ledger?${query}`)).status).toBe(400);
      },
    );
  });

  it('the check counts accounts and finds no drift', async () => {
    const tenantId = await makeTenant();
    await grant(tenantId, { amount_usd: '1', kind: 'paid' });
    const { status, body } = await api.call('GET', '/v1/ledger/check');
    expect(status).toBe(200);
    expect(body).toEqual({ accounts: expect.any(Number), drift: [] });
    expect(body.accounts).toBeGreaterThanOrEqual(2);
  });

  it("S4 every money route answers the same 404 for a missing tenant and for one that is not the key's", async () => {
    const mine = await makeTenant();
    const theirs = await makeTenant();
    const admin = await api.makeKey({ scopes: ['admin', 'read'], tenant_id: mine });
    const routes: [string, string, object | undefined][] = [
      ['POST', 'credits', { amount_usd: '1', kind: 'paid' }],
      ['POST', 'adjustments', { amount_usd: '1', reason: 'x' }],
      ['GET', 'balance', undefined],
      ['GET', 'ledger', undefined],
    ];
    for (const [method, route, body] of routes) {
      const foreign = await api.call(method, `/v1/tenants/${theirs}/${route}`, { key: admin, body });
      const missing = await api.call(method, `/v1/tenants/no-such-tenant/${route}`, { body });
      expect([foreign.status, foreign.body.code, foreign.body.detail]).toEqual([404, 'tenant.not_found', 'there is no such tenant']);
      expect([missing.status, missing.body.code, missing.body.detail]).toEqual([404, 'tenant.not_found', 'there is no such tenant']);
    }
    expect(await sequenceOf(api.database.db, theirs)).toEqual([]);
    expect((await api.call('GET', '/v1/ledger/check', { key: admin })).status).toBe(403);
  });

  it('every grant, void and adjustment is in the audit trail with who, before, after and why; a replay is not', async () => {
    const tenantId = await makeTenant();
    const headers = { 'idempotency-key': 'audited' };
    const { lot_id: lotId } = (await grant(tenantId, { amount_usd: '1', kind: 'paid' }, headers)).body;
    await grant(tenantId, { amount_usd: '1', kind: 'paid' }, headers);
    await api.call('POST', `/v1/credits/${lotId}/void`, { body: { reason: 'typo' } });
    await api.call('POST', `/v1/tenants/${tenantId}/adjustments`, { body: { amount_usd: '-2', reason: 'fee' } });
    const rows = await api.database.db.query<{ action: string; actor: string; reason: string | null; before: object; after: object }>(
      `SELECT action, actor, reason, before, after FROM platform.audit WHERE tenant_id = $1 AND entity IN ('credit', 'balance') ORDER BY at, audit_id`,
      [tenantId],
    );
    expect(rows).toMatchObject([
      { action: 'credit.granted', actor: 'admin', reason: null, before: null, after: { remaining_usd: '1.000000000' } },
      { action: 'credit.voided', actor: 'admin', reason: 'typo', before: { remaining_usd: '1.000000000' }, after: { remaining_usd: '0.000000000' } },
      { action: 'balance.adjusted', actor: 'admin', reason: 'fee', before: { receivable_usd: '0.000000000' }, after: { receivable_usd: '2.000000000' } },
    ]);
  });
});
