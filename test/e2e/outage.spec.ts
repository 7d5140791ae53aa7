/** PostgreSQL gone: 503 with Retry-After, nothing acknowledged, recovery without a restart. A proxy plays the outage. */
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { faultsOf, readBooks, startLoad, stopAllLoads } from '../support/load.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const TIMEOUT_MS = 120_000;
const EVENT = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1_200, output_tokens: 300 } };

describe('while PostgreSQL is away', () => {
  let test: TestDatabase;
  let proxy: TcpProxy;
  let program: Program;

  beforeEach(async () => {
    test = await openTestDatabase();
    const target = new URL(test.url);
    proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    target.port = String(proxy.port);
    program = await startStandalone({ environment: { DATABASE_URL: target.href, LOG_LEVEL: 'silent' } });
  }, TIMEOUT_MS);
  afterEach(async () => {
    await stopAllLoads();
    await cleanUpPrograms();
    await proxy.close();
    await test.close();
  }, TIMEOUT_MS);

  it(
    'answers 503 with Retry-After, acknowledges nothing, and goes on when it is back',
    async () => {
      expect((await program.call('POST', '/v1/events', { ...EVENT, event_id: 'before' })).status).toBe(202);
      proxy.setMode('refuse');
      const refused = await program.call('POST', '/v1/events', { ...EVENT, event_id: 'during' });
      expect(refused.status).toBe(503);
      expect(refused.body).toMatchObject({ code: 'storage.unavailable', status: 503 });
      expect(refused.headers.get('retry-after')).toBe('1');
      const ready = await program.call('GET', '/health/ready');
      expect(ready.status).toBe(503);
      expect(ready.body.checks).toMatchObject({ database: { ok: false }, 'process-lock': { ok: false } });
      expect((await program.call('GET', '/health/live')).status).toBe(200);
      proxy.setMode('forward');
      await eventually('ready again', async () => (await program.call('GET', '/health/ready')).status === 200, 30_000);
      expect((await program.call('POST', '/v1/events', { ...EVENT, event_id: 'after' })).status).toBe(202);
      const rows = await test.db.query<{ external_id: string }>(`SELECT external_id FROM metering.event WHERE tenant_id = 'acme' ORDER BY 1`);
      expect(rows.map((row) => row.external_id)).toEqual(['after', 'before']);
    },
    TIMEOUT_MS,
  );

  it(
    'loses nothing it acknowledged when the connection goes away again and again under load',
    async () => {
      const load = startLoad(() => program.url, 4, 'outage');
      for (let outage = 0; outage < 5; outage += 1) {
        const before = load.acknowledged.size;
        await eventually('more events are acknowledged', () => load.acknowledged.size >= before + 200, 60_000);
        const refusals = load.refusals.length;
        proxy.setMode('refuse');
        await eventually('a call is refused', () => load.refusals.length > refusals);
        proxy.setMode('forward');
      }
      await load.stop();
      await eventually('nothing is pending', async () => (await readBooks(test.url)).pending === 0, 30_000);
      expect(faultsOf(await readBooks(test.url), load.acknowledged)).toEqual([]);
      expect(load.refusals.filter(({ status, retryAfter }) => status !== 503 || retryAfter === null)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'turns readiness red and answers 503 when the server takes bytes and says nothing',
    async () => {
      proxy.setMode('swallow');
      const call = program.call('POST', '/v1/events', { ...EVENT, event_id: 'into the void' });
      expect((await program.call('GET', '/health/ready')).status).toBe(503);
      const answer = await call;
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toBe('1');
      proxy.setMode('forward');
      await eventually('ready again', async () => (await program.call('GET', '/health/ready')).status === 200, 60_000);
    },
    TIMEOUT_MS,
  );
});
