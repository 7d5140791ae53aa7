import pg from 'pg';
import { openPostgresQueue, openRedisQueue, type QueueBackend } from '#libs/platform/queue/queue-backend.js';
import { SpendWorker } from '#libs/platform/queue/spend-worker.js';
import { ThrottledWakeUp } from '#libs/platform/queue/spend-wake-up.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';

const NEVER_MS = 3_600_000;

interface Rig {
  readonly runs: number[];
  readonly errors: string[];
  readonly waiting: Set<number>;
  readonly wakeUp: ThrottledWakeUp;
  onRun: (shard: number) => Promise<void>;
  close(): Promise<void>;
}

function rigOn(backend: QueueBackend, sweepIntervalMs = NEVER_MS): Rig {
  const queue = backend.openQueue();
  const errors: string[] = [];
  const wakeUp = new ThrottledWakeUp(
    (shard) => queue.add(shard),
    (error) => errors.push(String(error)),
  );
  const rig: Rig = {
    runs: [],
    errors,
    waiting: new Set(),
    wakeUp,
    onRun: () => Promise.resolve(),
    close: async () => {
      wakeUp.close();
      await worker.close();
      await queue.close();
      await backend.close();
    },
  };
  const worker = SpendWorker.start({
    backend,
    concurrency: 4,
    sweepIntervalMs,
    onWake: async (shard) => {
      rig.runs.push(shard);
      rig.waiting.delete(shard);
      await rig.onRun(shard);
    },
    findWaiting: () => Promise.resolve([...rig.waiting]),
    onError: (error) => errors.push(String(error)),
  });
  return rig;
}

/** Every backend must pass these. */
function itIsAWakeUpQueue(open: () => Promise<QueueBackend>): void {
  it('runs the shard that was woken', async () => {
    const rig = rigOn(await open());
    rig.wakeUp.wake([3]);
    await eventually('shard 3 runs', () => rig.runs.includes(3));
    await rig.close();
  });

  it('runs a shard once more when it was woken during its run, and never twice at once', async () => {
    const rig = rigOn(await open());
    let finish = (): void => undefined;
    let atOnce = 0;
    let mostAtOnce = 0;
    const held = new Promise<void>((resolve) => (finish = resolve));
    rig.onRun = async () => {
      mostAtOnce = Math.max(mostAtOnce, (atOnce += 1));
      if (rig.runs.length === 1) await held;
      atOnce -= 1;
    };
    rig.wakeUp.wake([5]);
    await eventually('the first run begins', () => rig.runs.length === 1);
    // Another process's wake-up, past our own throttle.
    const other = await open();
    const otherQueue = other.openQueue();
    await otherQueue.add(5);
    finish();
    await eventually('the kept wake-up runs', () => rig.runs.length === 2);
    expect(mostAtOnce).toBe(1);
    await otherQueue.close();
    await other.close();
    await rig.close();
  });

  it('goes on after a run that failed', async () => {
    const rig = rigOn(await open());
    rig.onRun = () => (rig.runs.length === 1 ? Promise.reject(new Error('no luck')) : Promise.resolve());
    rig.wakeUp.wake([1]);
    await eventually('the failure is reported', () => rig.errors.some((error) => error.includes('no luck')));
    await eventually('a later wake-up runs', () => {
      rig.wakeUp.wake([1]);
      return rig.runs.length >= 2;
    });
    await rig.close();
  });

  it('finds by sweeping what no wake-up announced', async () => {
    const rig = rigOn(await open(), 20);
    rig.waiting.add(9);
    await eventually('shard 9 runs', () => rig.runs.includes(9));
    await rig.close();
  });

  it('finishes the run under way before close returns', async () => {
    const rig = rigOn(await open());
    let finished = false;
    let finish = (): void => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    rig.onRun = async () => {
      await held;
      finished = true;
    };
    rig.wakeUp.wake([2]);
    await eventually('the run begins', () => rig.runs.length === 1);
    const closing = rig.close();
    finish();
    await closing;
    expect(finished).toBe(true);
  });
}

describe('the wake-up queue on PostgreSQL', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await openTestDatabase({ empty: true });
  });
  afterAll(async () => {
    await test.close();
  });
  const open = async (): Promise<QueueBackend> => await openPostgresQueue({ connectionString: test.url, onError: () => undefined });

  itIsAWakeUpQueue(open);

  it('outlives the end of all its connections, LISTEN included', async () => {
    const rig = rigOn(await open());
    rig.wakeUp.wake([1]);
    await eventually('the first run', () => rig.runs.length === 1);
    const admin = new pg.Client({ connectionString: test.url, application_name: 'test-killer' });
    await admin.connect();
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`);
    await admin.end();
    await eventually('a wake-up runs again', () => {
      rig.wakeUp.wake([2]);
      return rig.runs.includes(2);
    });
    await rig.close();
  });

  it('does the work by sweeping when somebody empties the queue', async () => {
    const rig = rigOn(await open(), 20);
    const admin = new pg.Client({ connectionString: test.url });
    await admin.connect();
    await admin.query('TRUNCATE bullmq.job, bullmq.dedup, bullmq.dedup_next CASCADE');
    await admin.end();
    rig.waiting.add(4);
    await eventually('shard 4 runs', () => rig.runs.includes(4));
    await rig.close();
  });
});

describeWithRedis('the wake-up queue on Redis', () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    await redis.close();
  });
  const open = (): Promise<QueueBackend> => Promise.resolve(openRedisQueue({ urls: [redis.url], cluster: false, onError: () => undefined }));

  itIsAWakeUpQueue(open);

  it('outlives kill -9 of Redis and the loss of everything in it', async () => {
    if (!redis.kill) return;
    const rig = rigOn(await open(), 20);
    rig.wakeUp.wake([1]);
    await eventually('the first run', () => rig.runs.length === 1);
    await redis.kill();
    rig.waiting.add(2);
    await eventually('the sweep works without Redis', () => rig.runs.includes(2));
    await redis.restart();
    await eventually('a wake-up runs again', () => {
      rig.wakeUp.wake([3]);
      return rig.runs.includes(3);
    });
    await rig.close();
  });
});
