/**
 * `POST /v1/authorize`, full and minimal answer, against a route that does nothing: with the quota state in memory, or in Redis. Judged by the
 * wallet and four budgets. Holds stay open for the whole round and are released after it.
 */
import { publish, rounds } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { authorizeTemplates } from './payloads/template.js';
import { HttpYardstick } from './yardsticks/http-yardstick.js';

const CONNECTIONS = 32;
const TENANTS = 1_000;
const ALLOWED = '"decision":"allow"';
const MINIMAL = { prefer: 'return=minimal' };

interface Shape {
  readonly name: string;
  readonly redis: boolean;
  readonly firstBar: number;
  readonly moonshot: number;
}

export async function authorizeMemory(options: BenchOptions): Promise<void> {
  await againstEmpty(options, { name: 'authorize-memory', redis: false, firstBar: 0.5, moonshot: 0.8 });
}

export async function authorizeRedis(options: BenchOptions): Promise<void> {
  await againstEmpty(options, { name: 'authorize-redis', redis: true, firstBar: 0.35, moonshot: 0.6 });
}

async function againstEmpty(options: BenchOptions, { name, redis, firstBar, moonshot }: Shape): Promise<void> {
  await BenchSession.run(name, { ...options, tenants: TENANTS, scope: 'authorize', redis }, async (session) => {
    await session.subject.makeBudgets();
    const bodies = authorizeTemplates(TENANTS);
    const send = async (run: string, seconds: number, more: { port?: number; headers?: Record<string, string> } = {}) =>
      await session.send({
        path: more.port ? '/' : '/v1/authorize',
        ...bodies,
        connections: CONNECTIONS,
        seconds,
        expect: ALLOWED,
        run,
        release: { keep: 0 },
        ...more,
      });
    const toYardstick = async (run: string, seconds: number, yardstick: HttpYardstick) =>
      await session.send({ path: '/', ...bodies, connections: CONNECTIONS, seconds, expect: ALLOWED, run, port: yardstick.port });
    const full = await send('warmfull', 3);
    const minimal = await send('warmmini', 2, { headers: MINIMAL });
    const empty = await HttpYardstick.start('empty', JSON.parse(full.sampleAnswer));
    const emptyMinimal = await HttpYardstick.start('empty', JSON.parse(minimal.sampleAnswer));
    const bare = await HttpYardstick.start('bare', JSON.parse(full.sampleAnswer));
    for (const [index, yardstick] of [empty, emptyMinimal, bare].entries()) await toYardstick(`warm${index}`, 1, yardstick);
    const measured = await rounds(options.rounds, async (index) => {
      const probes = await session.probe();
      await session.database.checkpoint();
      const load = await send(`full${index}`, options.seconds);
      const onEmpty = await toYardstick(`empt${index}`, options.seconds, empty);
      const mini = await send(`mini${index}`, options.seconds, { headers: MINIMAL });
      const onEmptyMinimal = await toYardstick(`emin${index}`, options.seconds, emptyMinimal);
      const onBare = await toYardstick(`bare${index}`, options.seconds, bare);
      const beside = {
        'minimal/s': perSecond(mini),
        'minimal ratio': perSecond(mini) / perSecond(onEmptyMinimal),
        'bare/s': perSecond(onBare),
        'of bare': perSecond(load) / perSecond(onBare),
        'open holds': load.requests,
        'p99 ms': load.p99Ms,
      };
      return { probes, subject: perSecond(load), yardstick: perSecond(onEmpty), beside };
    });
    for (const yardstick of [empty, emptyMinimal, bare]) yardstick.stop();
    const setting = {
      'body bytes': bodies.template.bytes,
      'answer bytes': full.sampleAnswer.length,
      'minimal bytes': minimal.sampleAnswer.length,
      connections: CONNECTIONS,
      tenants: TENANTS,
      limits: 'wallet, 4 budgets, loop guard',
    };
    publish({ name, unit: 'requests', yardstickName: 'empty', firstBar, moonshot, setting, rounds: measured });
  });
}

function perSecond(load: { requests: number; elapsedMs: number }): number {
  return (load.requests * 1_000) / load.elapsedMs;
}
