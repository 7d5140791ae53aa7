import pg from 'pg';
import { ProcessLock, ProcessLockTakenError } from '#libs/platform/postgres/process-lock.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';

describe('the lock of a single process', () => {
  let test: TestDatabase;
  beforeEach(async () => {
    test = await openTestDatabase({ empty: true });
  });
  afterEach(async () => {
    await test.close();
  });

  async function endLockSessions(): Promise<void> {
    const admin = new pg.Client({ connectionString: test.url });
    await admin.connect();
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tollgate-process-lock'`,
    );
    await admin.end();
  }

  it('refuses a second process and says what to do', async () => {
    const first = await ProcessLock.acquire({ connectionString: test.url, onChange: () => undefined });
    const second = ProcessLock.acquire({ connectionString: test.url, onChange: () => undefined, graceMs: 0 });
    await expect(second).rejects.toThrow(ProcessLockTakenError);
    await expect(second).rejects.toThrow(/already works on this database \(connected from 127\.0\.0\.1:\d+ since .*REDIS_URL/);
    await first.close();
    const third = await ProcessLock.acquire({ connectionString: test.url, onChange: () => undefined });
    expect(third.isHeld).toBe(true);
    await third.close();
  });

  it('is not held from the moment its connection is lost, and is taken again', async () => {
    const changes: boolean[] = [];
    const lock = await ProcessLock.acquire({ connectionString: test.url, onChange: (held) => changes.push(held) });
    await endLockSessions();
    await eventually('lost, then held again', () => changes.length === 2);
    expect(changes).toEqual([false, true]);
    expect(lock.isHeld).toBe(true);
    await lock.close();
  });

  it('stays not held while another process has it', async () => {
    const changes: boolean[] = [];
    const lock = await ProcessLock.acquire({ connectionString: test.url, onChange: (held) => changes.push(held) });
    const rival = new pg.Client({ connectionString: test.url, application_name: 'rival' });
    await rival.connect();
    const waiting = rival.query(
      `SELECT pg_advisory_lock((l.classid::bigint << 32) | l.objid::bigint) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1`,
    );
    await eventually('the rival waits', async () => {
      const [row] = await test.db.query<{ waiting: bigint }>(`SELECT count(*) AS waiting FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`);
      return row?.waiting === 1n;
    });
    await endLockSessions();
    await waiting;
    expect(lock.isHeld).toBe(false);
    expect(changes).toEqual([false]);
    await rival.end();
    await eventually('held again', () => lock.isHeld);
    await lock.close();
  });
});
