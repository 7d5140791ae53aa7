/** The p99 of authorize at a fixed rate, beside that of a route that does nothing. The ratio is turned round, so that more is better: 0.2 is five times as slow. */
import { publish, rounds } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { authorizeTemplates } from './payloads/template.js';
import { HttpYardstick } from './yardsticks/http-yardstick.js';

const CONNECTIONS = 32;
const TENANTS = 1_000;
const RATE_PER_S = 4_000;
const ALLOWED = '"decision":"allow"';

export async function authorizeLatency(options: BenchOptions): Promise<void> {
  await BenchSession.run('authorize-latency', { ...options, tenants: TENANTS, scope: 'authorize' }, async (session) => {
    await session.subject.makeBudgets();
    const bodies = { ...authorizeTemplates(TENANTS), connections: CONNECTIONS, expect: ALLOWED };
    const warm = await session.send({ ...bodies, path: '/v1/authorize', seconds: 3, run: 'warm', release: { keep: 0 } });
    const empty = await HttpYardstick.start('empty', JSON.parse(warm.sampleAnswer));
    await session.send({ ...bodies, path: '/', seconds: 2, run: 'warmempt', port: empty.port });
    const measured = await rounds(options.rounds, async (index) => {
      const probes = await session.probe();
      await session.database.checkpoint();
      const load = await session.send({
        ...bodies,
        path: '/v1/authorize',
        seconds: options.seconds,
        run: `auth${index}`,
        ratePerS: RATE_PER_S,
        release: { keep: 0 },
      });
      const onEmpty = await session.send({ ...bodies, path: '/', seconds: options.seconds, run: `empt${index}`, ratePerS: RATE_PER_S, port: empty.port });
      const beside = { 'p50 ms': load.p50Ms, 'p99 ms': load.p99Ms, 'empty p50 ms': onEmpty.p50Ms, 'empty p99 ms': onEmpty.p99Ms };
      return { probes, subject: 1_000 / load.p99Ms, yardstick: 1_000 / onEmpty.p99Ms, beside };
    });
    empty.stop();
    const setting = {
      'requests a second': RATE_PER_S,
      connections: CONNECTIONS,
      tenants: TENANTS,
      limits: 'wallet, 4 budgets, loop guard',
      'seconds a round': options.seconds,
    };
    publish({ name: 'authorize-latency', unit: '1/p99', yardstickName: 'empty 1/p99', firstBar: 0.2, moonshot: 0.5, setting, rounds: measured });
  });
}
