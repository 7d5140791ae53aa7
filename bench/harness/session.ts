/** One bench from nothing: database, server, tenants, a key, the load generator; and the same in reverse, whatever happens in between. */
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BodyTemplate } from '../payloads/template.js';
import { BenchDatabase } from './bench-database.js';
import { BenchRedis } from './bench-redis.js';
import { LoadGenerator, type LoadOrder, type LoadResult } from './load.js';
import { probe, type Probes } from './probes.js';
import { printProfile } from './profile.js';
import { Subject } from './subject.js';

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly tenants: number;
  readonly profile: boolean;
  /** Of the key that the load is sent with; by default ingest. */
  readonly scope?: 'ingest' | 'authorize';
  /** The quota state is in a Redis of this bench, and so is the queue. */
  readonly redis?: boolean;
  /** Further settings of the server, as its environment has them. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Beyond this nobody posts any more: something is stuck. */
const DRAIN_TIMEOUT_MS = 600_000;
const DRAIN_POLL_MS = 50;
const SUBJECT = 'subject';

export class BenchSession {
  private constructor(
    readonly database: BenchDatabase,
    public subject: Subject,
    readonly load: LoadGenerator,
    private readonly key: string,
    private readonly startSubject: (name: string) => Promise<Subject>,
    private readonly shared: BenchRedis | null,
  ) {}

  get redis(): BenchRedis {
    if (this.shared === null) throw new Error('this bench has no Redis');
    return this.shared;
  }

  /** One more process on the same PostgreSQL and Redis; whoever starts it stops it. */
  async startAnother(name: string): Promise<Subject> {
    return await this.startSubject(name);
  }

  /** Another process on the same data. */
  async restartSubject(): Promise<void> {
    await this.subject.stop();
    this.subject = await this.startSubject(SUBJECT);
  }

  static async run<T>(name: string, options: BenchOptions, work: (session: BenchSession) => Promise<T>): Promise<T> {
    const database = await BenchDatabase.start();
    const load = LoadGenerator.start();
    const profileDirectory = options.profile ? resolve('bench/results', `${name}-profile`) : null;
    if (profileDirectory !== null) {
      rmSync(profileDirectory, { recursive: true, force: true });
      mkdirSync(profileDirectory, { recursive: true });
    }
    let first: Subject | null = null;
    let session: BenchSession | null = null;
    let redis: BenchRedis | null = null;
    const startSubject = async (process: string): Promise<Subject> =>
      await Subject.start({
        databaseUrl: database.subjectUrl,
        dataDirectory: join(database.directory, process),
        profileDirectory,
        redisUrl: redis?.url,
        settings: options.settings,
      });
    try {
      if (options.redis === true) redis = await BenchRedis.start();
      const subject = await startSubject(SUBJECT);
      first = subject;
      await subject.makeTenants(options.tenants);
      session = new BenchSession(database, subject, load, await subject.serviceKey(options.scope ?? 'ingest'), startSubject, redis);
      return await work(session);
    } finally {
      load.stop();
      await (session?.subject ?? first)?.stop();
      await redis?.stop();
      await database.stop();
      if (profileDirectory !== null) printProfile(profileDirectory);
    }
  }

  async probe(): Promise<Probes> {
    return await probe(this.database.subjectUrl, this.database.directory);
  }

  async send(
    order: {
      path: string;
      template: BodyTemplate;
      connections: number;
      seconds: number;
      expect: string;
      run: string;
      port?: number;
      headers?: Readonly<Record<string, string>>;
    } & Pick<LoadOrder, 'variants' | 'ratePerS' | 'release' | 'once' | 'other'>,
  ): Promise<LoadResult> {
    const { port, headers, seconds, ...rest } = order;
    return await this.load.run({
      ...rest,
      port: port ?? this.subject.port,
      headers: { authorization: `Bearer ${this.key}`, ...headers },
      durationMs: seconds * 1_000,
    });
  }

  async backlog(): Promise<number> {
    return await this.database.count('metering.pending');
  }

  /** Until everything acknowledged is posted. */
  async drain(): Promise<void> {
    for (const deadline = performance.now() + DRAIN_TIMEOUT_MS; (await this.backlog()) > 0; await delay(DRAIN_POLL_MS)) {
      if (performance.now() > deadline) throw new Error(`still ${await this.backlog()} events to post after ${DRAIN_TIMEOUT_MS / 1_000} s`);
    }
  }

  /** A bench that lost or doubled events has measured nothing. @throws Error */
  async assertPosted(events: number): Promise<void> {
    const stored = await this.database.count('metering.event');
    const posted = await this.database.count('metering.posting', `state = 'posted' AND revision = 1`);
    const { rows } = await this.database.client.query<{ n: string }>('SELECT coalesce(sum(requests), 0) AS n FROM reporting.spend_month');
    const rolledUp = Number(rows[0]?.n);
    if (stored !== events || posted !== events || rolledUp !== events)
      throw new Error(`acknowledged ${events}, stored ${stored}, posted ${posted}, rolled up ${rolledUp}: they must be equal`);
    const { drift } = await this.subject.call<{ drift: unknown[] }>('GET', '/v1/ledger/check');
    if (drift.length > 0) throw new Error(`the ledger drifted: ${JSON.stringify(drift.slice(0, 5))}`);
  }
}
