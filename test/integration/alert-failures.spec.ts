import pg from 'pg';
import { NoteAlerts } from '#libs/alerting/index.js';
import { TellCrossings } from '#libs/quota/index.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { captureLog } from '../support/log-capture.js';
import { raiseAlerts } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

describe('an alert never holds up money', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  const log = captureLog();
  let events = 0;
  beforeAll(async () => {
    api = await startTestApi({ logger: log.logger });
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  const budget = async (tenantId: string, percent: number): Promise<void> => {
    const body = { period: 'month', limit_usd: '1.00', thresholds: [{ percent, action: 'notify' }] };
    await api.call('PUT', `/v1/tenants/${tenantId}/budgets/b`, { body });
  };
  /** gpt-4o: ten dollars per million output tokens. */
  const spend = async (tenantId: string, cents: number): Promise<void> => {
    events += 1;
    await quota.report({ event_id: `failing-${events}`, tenant_id: tenantId, usage: { output_tokens: cents * 1_000 } });
  };
  const told = async (tenantId: string): Promise<string[]> => {
    await raiseAlerts(api.app);
    const { body } = await api.call('GET', `/v1/alerts?tenant_id=${tenantId}`);
    return body.data.map(({ kind }: { kind: string }) => kind).sort();
  };
  const failuresCounted = async (): Promise<number> =>
    Number(/^tollgate_alert_failures_total (\d+)$/m.exec((await api.call('GET', '/metrics')).body as string)?.[1]);

  const broken = async <T>(sql: string, repair: string, work: () => Promise<T>): Promise<T> => {
    const owner = new pg.Client({ connectionString: api.database.url });
    await owner.connect();
    try {
      await owner.query(sql);
      return await work();
    } finally {
      await owner.query(repair);
      await owner.end();
    }
  };

  it('with the table of alerts gone calls are booked; the failure is logged and counted, and the alert is raised when the table is back', async () => {
    const tenantId = await quota.makeTenant({}, '1.00');
    await budget(tenantId, 90);
    const before = await failuresCounted();
    await broken('ALTER TABLE alerting.alert RENAME TO alert_gone', 'ALTER TABLE alerting.alert_gone RENAME TO alert', async () => {
      await spend(tenantId, 95);
      expect((await quota.balanceOf(tenantId)).posted_usd).toBe('0.050000000');
      await raiseAlerts(api.app);
    });
    expect(await failuresCounted()).toBeGreaterThanOrEqual(before + 2);
    expect(log.text()).toContain('alerts could not be raised; they are tried again');
    expect(log.text()).toContain('crossings were not told; they are tried again');
    expect(await told(tenantId)).toEqual(['balance.low', 'threshold.crossed']);
  });

  it('an alert that the table refuses keeps no other waiting', async () => {
    const [refused, fine] = [await quota.makeTenant({}, '100'), await quota.makeTenant({}, '100')];
    for (const each of [refused, fine]) await budget(each, 50);
    await broken(
      `ALTER TABLE alerting.alert ADD CONSTRAINT refusing CHECK (tenant_id <> '${refused}') NOT VALID`,
      'ALTER TABLE alerting.alert DROP CONSTRAINT refusing',
      async () => {
        await spend(refused, 60);
        await spend(fine, 60);
        expect([await told(refused), await told(fine)]).toEqual([[], ['threshold.crossed']]);
      },
    );
    expect(await told(refused)).toEqual(['threshold.crossed']);
  });

  it('finding out that fails half-way undoes nothing of the transaction around it, and is logged and counted', async () => {
    const tenantId = await quota.makeTenant();
    const before = await failuresCounted();
    const noted = await api.database.db.transaction(async (tx) => {
      await tx.execute(`UPDATE tenancy.tenant SET name = 'before' WHERE tenant_id = $1`, [tenantId]);
      const told = await api.app.get(NoteAlerts).execute({
        tx,
        find: async (sql) => {
          await sql.execute(`UPDATE tenancy.tenant SET name = 'while finding out' WHERE tenant_id = $1`, [tenantId]);
          await sql.query('SELECT 1 / 0');
          return [];
        },
      });
      await tx.execute(`UPDATE tenancy.tenant SET name = name || ' and after' WHERE tenant_id = $1`, [tenantId]);
      return told;
    });
    const [row] = await api.database.db.query<{ name: string }>('SELECT name FROM tenancy.tenant WHERE tenant_id = $1', [tenantId]);
    expect([noted, row?.name]).toEqual([false, 'before and after']);
    expect(await failuresCounted()).toBe(before + 1);
    expect(log.text()).toContain('an alert could not be noted');
  });

  it('a round that finds nothing tells nothing', async () => {
    await raiseAlerts(api.app);
    expect(await api.app.get(TellCrossings).execute()).toEqual({ delivered: 0, failed: 0 });
  });
});
