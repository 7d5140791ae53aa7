import { RaiseAlert, RouteAlerts } from '#libs/alerting/index.js';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { fillPath, readOpenApi, sampleOf, type Operation } from '../support/openapi.js';

/** An id of the owner's object and one of the same form that does not exist. */
interface Pair {
  readonly existing: string;
  readonly missing: string;
}
/** For every path parameter of the API, by its name or by "path: name". */
type Ids = Readonly<Record<string, Pair>>;

// A source is the operator's and serves every tenant: a tenant's own ingest key may well report through it.
const SHARED: ReadonlySet<string> = new Set(['POST /v1/webhooks/litellm/{source_id}']);
const MISSING_UUID = '00000000-0000-7000-8000-000000000000';

describe("S4 with another tenant's key, an object looks exactly like one that does not exist", () => {
  let api: TestApi;
  let operations: readonly Operation[];
  let bodyOf: (operation: Operation) => unknown;
  let ids: Ids;
  let foreignKeys: Record<string, string>;
  beforeAll(async () => {
    api = await startTestApi();
    for (const id of ['owner', 'stranger']) await api.call('PUT', `/v1/tenants/${id}`, { body: {} });
    ids = await makeObjects(api);
    foreignKeys = {};
    for (const scope of ['admin', 'read', 'ingest', 'authorize']) foreignKeys[scope] = await api.makeKey({ scopes: [scope], tenant_id: 'stranger' });
    const document = await readOpenApi(api);
    operations = document.operations.filter((operation) => operation.pathParams.length > 0);
    bodyOf = (operation) => (operation.bodySchema === null ? undefined : sampleOf(operation.bodySchema, document.resolve));
  });
  afterAll(async () => await api.close());

  const pairOf = (operation: Operation, name: string): Pair | undefined => ids[`${operation.path}: ${name}`] ?? ids[name];
  const call = async (operation: Operation, which: 'existing' | 'missing', key: string): Promise<ApiAnswer> => {
    const params = Object.fromEntries(operation.pathParams.map((name) => [name, pairOf(operation, name)?.[which] ?? '']));
    return await api.call(operation.method, fillPath(operation.path, params), { key, body: bodyOf(operation), headers: { 'idempotency-key': 'isolation' } });
  };
  /** What a caller can compare: everything but the request's own id, and his own ids echoed back. */
  const visible = (operation: Operation, which: 'existing' | 'missing', { status, body }: ApiAnswer): string => {
    let text = JSON.stringify({ status, body: { ...body, request_id: '-' } });
    for (const name of operation.pathParams) text = text.replaceAll(pairOf(operation, name)?.[which] ?? '', '<id>');
    return text;
  };

  it('knows an object for every path parameter there is', () => {
    expect(Object.values(ids).map((pair) => typeof pair.existing)).toEqual(Object.values(ids).map(() => 'string'));
    const unknown = operations.flatMap((operation) =>
      operation.pathParams.filter((name) => pairOf(operation, name) === undefined).map((name) => `${operation.path}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });

  it('answers a foreign id as a missing one, on every route and for every scope', async () => {
    const told: string[] = [];
    for (const operation of operations.filter((candidate) => !SHARED.has(`${candidate.method} ${candidate.path}`))) {
      for (const [scope, key] of Object.entries(foreignKeys)) {
        const foreign = await call(operation, 'existing', key);
        const missing = await call(operation, 'missing', key);
        const same = visible(operation, 'existing', foreign) === visible(operation, 'missing', missing);
        if (!same || foreign.status < 400)
          told.push(
            `${scope}: ${operation.method} ${operation.path}: ${visible(operation, 'existing', foreign)} against ${visible(operation, 'missing', missing)}`,
          );
      }
    }
    expect(told).toEqual([]);
  }, 120_000);

  it('answers 404 wherever the path names a tenant and the scope fits', async () => {
    for (const operation of operations.filter((candidate) => candidate.pathParams.includes('tenant_id'))) {
      const { status, body } = await call(operation, 'existing', foreignKeys['admin'] ?? '');
      expect([operation.method, operation.path, status, body.code]).toEqual([operation.method, operation.path, 404, 'tenant.not_found']);
    }
  });

  it('shows the owner what it hides from the stranger', async () => {
    const own = await api.makeKey({ scopes: ['read'], tenant_id: 'owner' });
    expect((await api.call('GET', '/v1/tenants/owner', { key: own })).status).toBe(200);
    expect((await api.call('GET', '/v1/tenants/stranger', { key: own })).status).toBe(404);
  });
});

async function makeObjects(api: TestApi): Promise<Ids> {
  await api.call('PUT', '/v1/plans/gold', { body: { name: 'Gold' } });
  const key = await api.call('POST', '/v1/service-keys', { body: { name: "the owner's", scopes: ['read'], tenant_id: 'owner' } });
  await api.call('PUT', '/v1/sources/proxy-1', { body: { gateway: 'litellm' } });
  await api.call('PUT', '/v1/price-overrides/own-price', { body: { provider: 'hosted_vllm', model: 'acme', prices: { input_tokens: '0.000001' } } });
  await api.call('PUT', '/v1/rate-cards/std', { body: { markup_percent: '15' } });
  await api.call('PUT', '/v1/model-aliases/smart', { body: { provider: 'openai', model: 'gpt-4o' } });
  const lot = await api.call('POST', '/v1/tenants/owner/credits', { body: { amount_usd: '5', kind: 'paid' }, headers: { 'idempotency-key': 'grant' } });
  const ingest = await api.makeKey({ scopes: ['ingest'], tenant_id: 'owner' });
  const sent = [
    { event_id: 'owned', tenant_id: 'owner', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 10 } },
    { event_id: 'refused', tenant_id: 'owner', usage: { input_tokens: -1 } },
  ];
  await api.call('POST', '/v1/events', { key: ingest, body: sent });
  const event = await api.call('GET', '/v1/events?tenant_id=owner');
  const deadLetter = await api.call('GET', '/v1/dead-letters');
  const asked = await api.call('POST', '/v1/authorize', { body: { tenant_id: 'owner', provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01' } });
  await api.call('POST', '/v1/authorize', { body: { tenant_id: 'owner', provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '1000' } });
  const decision = await api.call('GET', '/v1/decisions?tenant_id=owner');
  await api.call('PUT', '/v1/alert-channels/pager', { body: { kind: 'webhook', url: 'https://hooks.example.com/' } });
  const delivery = await deliveryOfOwner(api);
  await api.call('PUT', '/v1/tenants/owner/budgets/monthly', { body: { per: ['user_id'], period: 'month', limit_usd: '5' } });
  await api.call('PUT', '/v1/budgets/each', { body: { per: ['tenant_id'], period: 'month', limit_usd: '5000' } });
  const sharedOverride = await api.call('POST', '/v1/budgets/each/overrides', { body: { values: { tenant_id: 'owner' }, limit_usd: '9' } });
  const override = await api.call('POST', '/v1/tenants/owner/budgets/monthly/overrides', { body: { values: { user_id: 'u' }, limit_usd: '9' } });
  const apiKey = await api.call('POST', '/v1/tenants/owner/keys', { body: { name: 'app' } });
  const hold = { existing: asked.body.hold.hold_id, missing: `hold_${MISSING_UUID}` };
  return {
    tenant_id: { existing: 'owner', missing: 'nobody' },
    plan_id: { existing: 'gold', missing: 'no-plan' },
    key_id: { existing: key.body.key_id, missing: `key_${MISSING_UUID}` },
    source_id: { existing: 'proxy-1', missing: 'no-proxy' },
    override_id: { existing: 'own-price', missing: 'no-price' },
    rate_card_id: { existing: 'std', missing: 'no-card' },
    alias: { existing: 'smart', missing: 'no-alias' },
    budget_id: { existing: 'monthly', missing: 'no-budget' },
    ...Object.fromEntries(
      ['', '/pause', '/resume', '/overrides', '/overrides/{override_id}', '/top-ups', '/status'].map((path) => [
        `/v1/budgets/{budget_id}${path}: budget_id`,
        { existing: 'each', missing: 'no-budget' },
      ]),
    ),
    '/v1/budgets/{budget_id}/overrides/{override_id}: override_id': { existing: sharedOverride.body.override_id, missing: 'no-override' },
    '/v1/tenants/{tenant_id}/budgets/{budget_id}/overrides/{override_id}: override_id': { existing: override.body.override_id, missing: 'no-override' },
    api_key_id: { existing: apiKey.body.api_key_id, missing: `ak_${MISSING_UUID}` },
    lot_id: { existing: lot.body.lot_id, missing: `lot_${MISSING_UUID}` },
    '/v1/events/{id}: id': { existing: event.body.data[0].id, missing: `evt_${MISSING_UUID}` },
    '/v1/holds/{id}/settle: id': hold,
    '/v1/holds/{id}/release: id': hold,
    '/v1/holds/{id}/extend: id': hold,
    '/v1/decisions/{id}: id': { existing: decision.body.data[0].decision_id, missing: `dec_${MISSING_UUID}` },
    channel_id: { existing: 'pager', missing: 'no-channel' },
    '/v1/alert-deliveries/{id}/retry: id': { existing: delivery, missing: `dlv_${MISSING_UUID}` },
    '/v1/dead-letters/{id}/replay: id': { existing: deadLetter.body.data[0].id, missing: `dl_${MISSING_UUID}` },
  };
}

async function deliveryOfOwner(api: TestApi): Promise<string> {
  const occurredAt = api.clock.now();
  const alert = { kind: 'period.closed', tenantId: 'owner', dedupKey: 'isolation', occurredAt, severity: 'info', subject: {} } as const;
  await api.app.get(RaiseAlert).execute({ alerts: [alert] });
  await api.app.get(RouteAlerts).execute();
  return (await api.call('GET', '/v1/alert-deliveries')).body.data[0].delivery_id;
}
