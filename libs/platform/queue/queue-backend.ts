/**
 * What carries wake-ups: Redis where there is one, else PostgreSQL. Guarantees: both give the same queue; a lost connection is
 * reported and made again, never a crash; and on PostgreSQL the queue's own commits do not wait for the disk, because the queue may
 * be emptied at any time without losing money (events are in `metering`, found by the sweep).
 */
import { createPostgresBackend, Queue, runMigrations, withBackend, Worker, type Processor, type QueueOptions, type WorkerOptions } from 'bullmq';
import { Cluster, Redis } from 'ioredis';
import pg from 'pg';

export interface WakeUpJob {
  readonly shard: number;
}

export interface WakeUpQueue {
  add(shard: number): Promise<void>;
  close(): Promise<void>;
}

export interface WakeUpWorker {
  close(): Promise<void>;
}

export interface QueueBackend {
  openQueue(): WakeUpQueue;
  /** `onError` hears of every trouble of the connection; work goes on when it is back. */
  openWorker(input: { concurrency: number; process: (shard: number) => Promise<void>; onError: (error: Error) => void }): WakeUpWorker;
  /** Call after the queue and the worker are closed. */
  close(): Promise<void>;
}

const QUEUE_NAME = 'post-spend';
/** In braces, so that all keys of the queue are on one node of a cluster. */
const QUEUE_PREFIX = '{bull}';
/** A worker that died is noticed after this; the sweep is faster, so it only bounds how long a duplicate key blocks wake-ups. */
const LOCK_MS = 10_000;
const RETRY_MS = 1_000;
const MAX_REDIS_BACKOFF_MS = 2_000;

const WORKER_OPTIONS = {
  lockDuration: LOCK_MS,
  stalledInterval: LOCK_MS / 2,
  // A wake-up has no outcome worth keeping: whether its work was done is in PostgreSQL.
  maxStalledCount: 1_000_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
  runRetryDelay: RETRY_MS,
} as const;

/** `keepLastIfActive`: a wake-up that arrives while its shard is being worked on is run afterwards, not dropped. */
function jobOptions(shard: number): object {
  return { deduplication: { id: `shard-${shard}`, keepLastIfActive: true }, removeOnComplete: true, removeOnFail: true };
}

const processorOf =
  (process: (shard: number) => Promise<void>): Processor<WakeUpJob> =>
  async (job) => {
    const { shard } = job.data;
    if (Number.isSafeInteger(shard)) await process(shard);
  };

/** BullMQ on PostgreSQL, in the schema `bullmq` of the database; makes that schema when it is not there. */
export async function openPostgresQueue(input: { connectionString: string; onError: (error: Error) => void }): Promise<QueueBackend> {
  const pool = new pg.Pool({
    connectionString: input.connectionString,
    max: 4,
    application_name: 'tollgate-queue',
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    options: '-c search_path=bullmq -c synchronous_commit=off -c statement_timeout=30000',
  });
  pool.on('error', input.onError);
  // BullMQ holds clients without a listener of its own; a server that goes away at that moment would end the process.
  pool.on('connect', (client) => client.on('error', input.onError));
  const client = await pool.connect();
  try {
    await runMigrations(client, 'bullmq');
  } finally {
    client.release();
  }
  const classes = withBackend(createPostgresBackend);
  return {
    openQueue: () => {
      const options: QueueOptions<pg.Pool> = { connection: pool };
      return wrapQueue(new classes.Queue<WakeUpJob, void, string>(QUEUE_NAME, options as never), input.onError);
    },
    openWorker: ({ concurrency, process, onError }) => {
      const options: WorkerOptions<pg.Pool> = { ...WORKER_OPTIONS, connection: pool, concurrency };
      const worker = new classes.Worker<WakeUpJob, void, string>(QUEUE_NAME, processorOf(process) as never, options as never);
      worker.on('error', onError);
      return { close: () => worker.close() };
    },
    close: () => pool.end(),
  };
}

/** BullMQ on Redis or Valkey. Does not wait for the server: it may come later or go away. */
export function openRedisQueue(input: { urls: readonly string[]; cluster: boolean; onError: (error: Error) => void }): QueueBackend {
  const connections: (Redis | Cluster)[] = [];
  const connect = (forWorker: boolean): Redis | Cluster => {
    const options = {
      // A wake-up must fail at once when Redis is away (the sweep does its work); a worker waits for ever.
      maxRetriesPerRequest: forWorker ? null : 1,
      enableOfflineQueue: forWorker,
      retryStrategy: (attempt: number) => Math.min(attempt * 100, MAX_REDIS_BACKOFF_MS),
    };
    const redis = input.cluster
      ? new Cluster([...input.urls], { redisOptions: options, enableOfflineQueue: forWorker, clusterRetryStrategy: options.retryStrategy })
      : new Redis(input.urls[0] ?? '', options);
    redis.on('error', input.onError);
    connections.push(redis);
    return redis;
  };
  return {
    openQueue: () => wrapQueue(new Queue<WakeUpJob, void, string>(QUEUE_NAME, { connection: connect(false), prefix: QUEUE_PREFIX }), input.onError),
    openWorker: ({ concurrency, process, onError }) => {
      const worker = new Worker<WakeUpJob>(QUEUE_NAME, processorOf(process), {
        ...WORKER_OPTIONS,
        connection: connect(true),
        prefix: QUEUE_PREFIX,
        concurrency,
      });
      worker.on('error', onError);
      return { close: () => worker.close() };
    },
    close: () => {
      for (const redis of connections) redis.disconnect();
      return Promise.resolve();
    },
  };
}

interface AddableQueue {
  add(name: string, data: WakeUpJob, options: object): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}

function wrapQueue(queue: AddableQueue, onError: (error: Error) => void): WakeUpQueue {
  queue.on('error', onError);
  return {
    add: async (shard) => {
      await queue.add('shard', { shard }, jobOptions(shard));
    },
    close: () => queue.close(),
  };
}
