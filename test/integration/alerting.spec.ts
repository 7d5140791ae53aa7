import { DeliverAlerts, ForgetOldAlerts, NoteAlerts, RaiseAlert, RaiseNotedAlerts, RouteAlerts, type NewAlert } from '#libs/alerting/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { eventually } from '../support/eventually.js';
import { captureLog } from '../support/log-capture.js';
import { isSignedWith, startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js';

const DAY_MS = 86_400_000;
const ALLOW = { TOLLGATE_OUTGOING_ALLOW: '127.0.0.1' };

describe('alerts from the crossing to the endpoint', () => {
  let api: TestApi;
  let receiver: WebhookReceiver;
  const log = captureLog();
  let counter = 0;

  beforeAll(async () => {
    api = await startTestApi({ environment: ALLOW, logger: log.logger });
  });
  afterAll(async () => await api.close());
  beforeEach(async () => {
    receiver = await startWebhookReceiver();
  });
  afterEach(async () => {
    for (const { channel_id } of (await api.call('GET', '/v1/alert-channels?limit=500')).body.data)
      await api.call('DELETE', `/v1/alert-channels/${channel_id}`);
    // What this test left unrouted goes nowhere instead of to the next test's channels.
    await api.app.get(RouteAlerts).execute();
    await receiver.close();
  });

  const makeTenant = async (settings: object = {}): Promise<string> => {
    counter += 1;
    await api.call('PUT', `/v1/tenants/alert-${counter}`, { body: settings });
    return `alert-${counter}`;
  };
  const put = async (channelId: string, over: object = {}): Promise<ApiAnswer> =>
    await api.call('PUT', `/v1/alert-channels/${channelId}`, { body: { kind: 'webhook', url: receiver.url, ...over } });
  const crossing = (tenantId: string | null, over: Partial<NewAlert> = {}): NewAlert => ({
    kind: 'threshold.crossed',
    tenantId,
    dedupKey: 'budget-1 80 2026-11',
    occurredAt: api.clock.now(),
    severity: 'warning',
    subject: { budget_id: 'budget-1', percent: '80' },
    ...over,
  });
  const raise = async (...alerts: NewAlert[]): Promise<number> => (await api.app.get(RaiseAlert).execute({ alerts })).raised;
  const deliver = async (): Promise<void> => {
    await api.app.get(RouteAlerts).execute();
    await api.app.get(DeliverAlerts).execute();
    await api.app.get(DeliverAlerts).settled();
  };
  const alertsOf = async (tenantId: string): Promise<any[]> => (await api.call('GET', `/v1/alerts?tenant_id=${tenantId}`)).body.data;

  it('a crossing raised 100 times in parallel is one alert, one delivery per channel, and a signature the receiver can verify', async () => {
    const tenantId = await makeTenant();
    const { secret } = (await put('one')).body;
    await put('two', { kinds: ['threshold.crossed'] });
    const raised = await Promise.all(Array.from({ length: 100 }, async () => await raise(crossing(tenantId))));
    expect(raised.reduce((sum, count) => sum + count)).toBe(1);
    await Promise.all([deliver(), deliver(), deliver()]);
    await deliver();
    expect(receiver.received).toHaveLength(2);
    const [alert, ...others] = await alertsOf(tenantId);
    expect(others).toEqual([]);
    expect(alert.deliveries.map((delivery: any) => [delivery.channel_id, delivery.status, delivery.attempts])).toEqual([
      ['one', 'delivered', 1],
      ['two', 'delivered', 1],
    ]);
    for (const { id, body, timestamp } of receiver.received) {
      expect(id).toBe(alert.alert_id);
      expect(timestamp).toBe(Math.floor(api.clock.now().getTime() / 1_000));
      expect(body).toEqual({
        type: 'threshold.crossed',
        timestamp: api.clock.now().toISOString(),
        data: { alert_id: alert.alert_id, tenant_id: tenantId, severity: 'warning', budget_id: 'budget-1', percent: '80' },
      });
    }
    expect(receiver.received.filter((message) => isSignedWith(message, secret))).toHaveLength(1);
  });

  it('noted in a transaction it exists exactly if that commits', async () => {
    const tenantId = await makeTenant();
    const note = async (tx: Sql, of: string): Promise<boolean> => await api.app.get(NoteAlerts).execute({ tx, find: () => [crossing(of)] });
    const tried = api.database.db.transaction(async (tx) => {
      await note(tx, tenantId);
      throw new Error('the booking failed');
    });
    await expect(tried).rejects.toThrow('the booking failed');
    await api.app.get(RaiseNotedAlerts).execute();
    expect(await alertsOf(tenantId)).toEqual([]);
    await api.database.db.transaction(async (tx) => void (await note(tx, tenantId)));
    await api.app.get(RaiseNotedAlerts).execute();
    expect(await alertsOf(tenantId)).toHaveLength(1);
  });

  it('an endpoint that fails is asked again with the same id and body until it answers 200, and not before its pause is over', async () => {
    const tenantId = await makeTenant();
    await put('failing');
    receiver.answer = (response, attempt) => void (attempt < 3 ? response.writeHead(500).end('out of order') : response.writeHead(200).end());
    await raise(crossing(tenantId));
    await deliver();
    await deliver();
    expect(receiver.received).toHaveLength(1);
    const [pending] = (await api.call('GET', '/v1/alert-deliveries?channel_id=failing&status=pending')).body.data;
    expect(pending).toMatchObject({ attempts: 1, http_status: 500, error: 'http_500', response_excerpt: 'out of order', finished_at: null });
    expect(Date.parse(pending.next_attempt_at)).toBeGreaterThan(api.clock.now().getTime());
    api.clock.advance(DAY_MS);
    await deliver();
    api.clock.advance(DAY_MS);
    await deliver();
    await deliver();
    expect(receiver.received.map(({ id, text }) => ({ id, text }))).toEqual(Array(3).fill({ id: receiver.received[0]?.id, text: receiver.received[0]?.text }));
    expect(receiver.received.map(({ timestamp }) => timestamp)).toEqual(
      [0, 1, 2].map((day) => (receiver.received[0]?.timestamp ?? 0) + (day * DAY_MS) / 1_000),
    );
    const [done] = (await api.call('GET', '/v1/alert-deliveries?channel_id=failing')).body.data;
    expect(done).toMatchObject({ status: 'delivered', attempts: 3, http_status: 200, error: null, next_attempt_at: null });
  });

  it('a redirect is a failure: what it points to is not called', async () => {
    const target = await startWebhookReceiver();
    await put('redirecting');
    receiver.answer = (response) => void response.writeHead(307, { location: target.url }).end();
    await raise(crossing(await makeTenant()));
    await deliver();
    expect((await api.call('GET', '/v1/alert-deliveries?channel_id=redirecting')).body.data).toEqual([
      expect.objectContaining({ status: 'pending', error: 'http_307' }),
    ]);
    expect(target.received).toEqual([]);
    await target.close();
  });

  it('after ten attempts a delivery has failed, and a retry starts it over', async () => {
    await put('dead');
    receiver.answer = (response) => void response.writeHead(503).end();
    await raise(crossing(await makeTenant()));
    for (let attempt = 0; attempt < 12; attempt += 1) {
      await deliver();
      api.clock.advance(DAY_MS);
    }
    expect(receiver.received).toHaveLength(10);
    const [failed] = (await api.call('GET', '/v1/alert-deliveries?channel_id=dead&status=failed')).body.data;
    expect(failed).toMatchObject({ attempts: 10, error: 'http_503', next_attempt_at: null });
    receiver.answer = (response) => void response.writeHead(204).end();
    const retried = await api.call('POST', `/v1/alert-deliveries/${failed.delivery_id}/retry`);
    expect([retried.status, retried.body.status, retried.body.attempts]).toEqual([200, 'pending', 0]);
    expect((await api.call('POST', `/v1/alert-deliveries/${failed.delivery_id}/retry`)).body.code).toBe('alert_delivery.pending');
    await deliver();
    expect((await api.call('GET', '/v1/alert-deliveries?channel_id=dead')).body.data).toEqual([expect.objectContaining({ status: 'delivered', attempts: 1 })]);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
  });

  it('410 switches the channel off, ends what waits for it, and is audited; a PUT switches it on again', async () => {
    const tenantId = await makeTenant();
    await put('gone');
    receiver.answer = (response) => void response.writeHead(410).end();
    await raise(crossing(tenantId));
    await deliver();
    expect((await api.call('GET', '/v1/alert-channels/gone')).body).toMatchObject({ enabled: false, disabled_reason: 'gone' });
    expect((await api.call('GET', '/v1/audit?entity=alert_channel')).body.data[0]).toMatchObject({
      action: 'alert_channel.disabled',
      actor: 'system:alerts',
      entity_id: 'gone',
    });
    await raise(crossing(tenantId, { dedupKey: 'next' }));
    await deliver();
    expect(receiver.received).toHaveLength(1);
    expect((await put('gone')).body).toMatchObject({ enabled: true, disabled_reason: null });
  });

  it('an endpoint that hangs keeps nobody else waiting', async () => {
    const hanging = await startWebhookReceiver();
    hanging.answer = () => undefined;
    await put('hanging', { url: hanging.url });
    await put('quick');
    const tenantId = await makeTenant();
    await raise(...Array.from({ length: 10 }, (_, index) => crossing(tenantId, { dedupKey: `hang-${index}` })));
    await api.app.get(RouteAlerts).execute();
    await api.app.get(DeliverAlerts).execute();
    await eventually('the quick endpoint has all ten', () => receiver.received.length === 10);
    await api.app.get(DeliverAlerts).execute();
    // Two lanes, each at a message of its own.
    await eventually('the hanging endpoint has two', () => hanging.received.length === 2);
    expect(new Set(hanging.received.map(({ id }) => id)).size).toBe(2);
    await hanging.close();
    await api.call('DELETE', '/v1/alert-channels/hanging');
    await api.app.get(DeliverAlerts).settled();
  });

  it('a worker that dies in the middle of an attempt: another takes it up when the lease ends, with the same id', async () => {
    const tenantId = await makeTenant();
    await put('leased');
    await raise(crossing(tenantId));
    await api.app.get(RouteAlerts).execute();
    // What the dead worker left: the attempt is claimed, its result was never written.
    await api.database.db.execute(`UPDATE alerting.delivery SET attempts = 1, next_attempt_at = $1 WHERE status = 'pending' AND channel_id = 'leased'`, [
      new Date(api.clock.now().getTime() + 60_000),
    ]);
    await deliver();
    expect(receiver.received).toHaveLength(0);
    api.clock.advance(60_000);
    await deliver();
    expect(receiver.received).toHaveLength(1);
    expect((await alertsOf(tenantId))[0].deliveries).toEqual([expect.objectContaining({ status: 'delivered', attempts: 2 })]);
  });

  it('two workers at once deliver each message once', async () => {
    const tenantId = await makeTenant();
    await put('shared');
    const second = await startTestApi({ database: api.database, environment: ALLOW, clock: api.clock });
    const alerts = Array.from({ length: 40 }, (_, index) => crossing(tenantId, { dedupKey: `shared-${index}` }));
    await raise(...alerts);
    await Promise.all([api, second].map(async ({ app }) => await app.get(RouteAlerts).execute()));
    await Promise.all([api, second].map(async ({ app }) => await app.get(DeliverAlerts).execute()));
    await Promise.all([api, second].map(async ({ app }) => await app.get(DeliverAlerts).settled()));
    await second.close();
    expect(receiver.received).toHaveLength(40);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(40);
  });

  it('a restart in between loses nothing and repeats nothing: neither the crossing nor what was delivered', async () => {
    const tenantId = await makeTenant();
    await put('restarted');
    await raise(crossing(tenantId));
    await deliver();
    await raise(crossing(tenantId, { dedupKey: 'not routed yet' }));
    const next = await startTestApi({ database: api.database, environment: ALLOW, clock: api.clock });
    expect((await next.app.get(RaiseAlert).execute({ alerts: [crossing(tenantId), crossing(tenantId, { dedupKey: 'not routed yet' })] })).raised).toBe(0);
    await next.app.get(RouteAlerts).execute();
    await next.app.get(DeliverAlerts).execute();
    await next.app.get(DeliverAlerts).settled();
    await next.close();
    await deliver();
    expect(receiver.received).toHaveLength(2);
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(2);
  });

  it("goes to the owner's channels where the tenant has some, else to all that fit", async () => {
    for (const id of ['owners', 'everybodys']) await put(id);
    await put('strangers', { tenant_id: await makeTenant() });
    const owned = await makeTenant({ owner: { channel_ids: ['owners', 'strangers'] } });
    const ownerless = await makeTenant({ owner: { email: 'ops@example.com' } });
    await raise(crossing(owned), crossing(ownerless), crossing(null));
    await deliver();
    const channelsOf = async (tenantId: string): Promise<string[]> => (await alertsOf(tenantId))[0].deliveries.map((delivery: any) => delivery.channel_id);
    expect(await channelsOf(owned)).toEqual(['owners']);
    expect(await channelsOf(ownerless)).toEqual(['everybodys', 'owners']);
    expect(receiver.received).toHaveLength(5);
  });

  it('during a rotation both secrets verify, a day later only the new one', async () => {
    const tenantId = await makeTenant();
    const old = (await put('rotated')).body.secret;
    const rotated = await api.call('POST', '/v1/alert-channels/rotated/rotate');
    expect(rotated.status).toBe(201);
    expect((await api.call('POST', '/v1/alert-channels/rotated/rotate')).body.code).toBe('alert_channel.two_secrets');
    await raise(crossing(tenantId));
    await deliver();
    api.clock.advance(DAY_MS);
    await raise(crossing(tenantId, { dedupKey: 'later' }));
    await deliver();
    const verified = receiver.received.map((message) => [isSignedWith(message, old), isSignedWith(message, rotated.body.secret)]);
    expect(verified).toEqual([
      [true, true],
      [false, true],
    ]);
    expect((await api.call('POST', '/v1/alert-channels/rotated/rotate')).status).toBe(201);
  });

  it('S3 a secret is shown when it is made and never again: not in answers, audit or logs', async () => {
    const given = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const made = (await put('secretive')).body.secret as string;
    expect(made).toMatch(/^whsec_/);
    const rotated = (await api.call('POST', '/v1/alert-channels/secretive/rotate')).body.secret as string;
    receiver.answer = (response) => void response.writeHead(500).end();
    await raise(crossing(await makeTenant()));
    await deliver();
    const answers = await Promise.all([
      put('secretive', { min_severity: 'warning' }),
      put('secretive', { min_severity: 'warning', secret: given }),
      ...['/v1/alert-channels', '/v1/alert-channels/secretive', '/v1/alerts', '/v1/alert-deliveries', '/v1/audit?limit=500'].map((path) =>
        api.call('GET', path),
      ),
      api.call('POST', '/v1/alert-channels/secretive/test'),
      api.call('DELETE', '/v1/alert-channels/secretive'),
    ]);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    const told = JSON.stringify(answers.map(({ body }) => body)) + log.text();
    for (const secret of [made, rotated, given]) expect(told.includes(secret.slice('whsec_'.length))).toBe(false);
  });

  it('a test message is sent at once, signed, and its outcome told', async () => {
    const { secret } = (await put('tested')).body;
    expect((await api.call('POST', '/v1/alert-channels/tested/test')).body).toEqual({
      delivered: true,
      http_status: 200,
      error: null,
      response_excerpt: 'thanks',
    });
    expect(receiver.received[0]?.body).toMatchObject({ type: 'channel.test', data: { channel_id: 'tested' } });
    expect(receiver.received.every((message) => isSignedWith(message, secret))).toBe(true);
    await put('tested', { url: 'https://10.1.2.3/' }).then(({ status, body }) => {
      expect([status, body.code, body.errors[0].path]).toEqual([400, 'alert_channel.invalid', 'url']);
    });
  });

  it('a URL that is not allowed is refused with the field and the rule, and no secret is asked for twice', async () => {
    for (const url of ['http://192.168.0.1/', 'https://[::1]/', 'https://169.254.169.254/latest', 'https://user:pass@hooks.example/', 'ftp://hooks.example/']) {
      const { status, body } = await put('refused', { url });
      expect([url, status, body.errors.map((error: any) => error.path)]).toEqual([url, 400, ['url']]);
    }
    expect((await put('refused', { tenant_id: 'nobody-ever-made' })).body.errors).toEqual([{ path: 'tenant_id', message: 'there is no such tenant' }]);
    expect((await put('refused', { secret: 'whsec_short' })).status).toBe(400);
    expect((await api.call('GET', '/v1/alert-channels/refused')).status).toBe(404);
  });

  it("a tenant's key sees that tenant's alerts alone, and has no part in channels and deliveries", async () => {
    const [mine, other] = [await makeTenant(), await makeTenant()];
    await raise(crossing(mine), crossing(other), crossing(null, { dedupKey: 'of nobody' }));
    const read = await api.makeKey({ scopes: ['read'], tenant_id: mine });
    const admin = await api.makeKey({ scopes: ['admin'], tenant_id: mine });
    for (const key of [read, admin]) {
      const { body } = await api.call('GET', '/v1/alerts', { key });
      expect(body.data.map((alert: any) => alert.tenant_id)).toEqual([mine]);
      expect((await api.call('GET', `/v1/alerts?tenant_id=${other}`, { key })).status).toBe(404);
      for (const path of ['/v1/alert-channels', '/v1/alert-deliveries']) expect((await api.call('GET', path, { key })).status).toBe(403);
    }
    expect((await api.call('PUT', '/v1/alert-channels/own', { key: admin, body: { kind: 'webhook', url: receiver.url, tenant_id: mine } })).status).toBe(403);
  });

  it('every change of a channel is audited with what it was, and the same state again writes nothing', async () => {
    await put('audited');
    await put('audited');
    await put('audited', { enabled: false });
    await put('audited', { enabled: false, secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' });
    await api.call('POST', '/v1/alert-channels/audited/rotate', { body: {} });
    await api.call('DELETE', '/v1/alert-channels/audited');
    const entries = (await api.call('GET', '/v1/audit?entity=alert_channel&limit=500')).body.data.filter((entry: any) => entry.entity_id === 'audited');
    expect(entries.reverse().map((entry: any) => [entry.action, entry.before?.enabled ?? null, entry.after?.enabled ?? null, entry.reason])).toEqual([
      ['alert_channel.created', null, true, null],
      ['alert_channel.updated', true, false, null],
      ['alert_channel.updated', false, false, 'the secret was replaced'],
      ['alert_channel.secret_rotated', false, false, null],
      ['alert_channel.deleted', false, null, null],
    ]);
  });

  it('deleting a channel ends what waits for it and keeps the log', async () => {
    await put('deleted');
    receiver.answer = (response) => void response.writeHead(500).end();
    const tenantId = await makeTenant();
    await raise(crossing(tenantId));
    await deliver();
    await api.call('DELETE', '/v1/alert-channels/deleted');
    expect((await api.call('GET', '/v1/alert-deliveries?channel_id=deleted')).body.data).toEqual([
      expect.objectContaining({ status: 'failed', error: 'channel_deleted', attempts: 1 }),
    ]);
  });

  it('lists are cut into pages, and old alerts are forgotten with their deliveries', async () => {
    const tenantId = await makeTenant();
    await put('paged');
    await raise(...Array.from({ length: 5 }, (_, index) => crossing(tenantId, { dedupKey: `page-${index}`, kind: 'period.closed' })));
    await deliver();
    const pages: string[][] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body }: ApiAnswer = await api.call('GET', `/v1/alerts?kind=period.closed&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
      pages.push(body.data.map((alert: any) => alert.alert_id));
      cursor = body.next_cursor;
    }
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(new Set(pages.flat()).size).toBe(5);
    api.clock.advance(400 * DAY_MS + 1);
    expect(await api.app.get(ForgetOldAlerts).execute()).toBeGreaterThanOrEqual(5);
    expect((await api.call('GET', '/v1/alert-deliveries')).body.data).toEqual([]);
  });
});
