/** 500 at once on a balance that fits 100: holds above the limit and false denials, both 0, fast and strict. No rate, a count. */
import { publishFigures } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { benchTenant } from './payloads/template.js';

const ASKED = 500;
const FITS = 100;

export async function lastDollar(options: BenchOptions): Promise<void> {
  await askForTheLast('last-dollar', { ...options, redis: false });
}

/** The same with the quota state in a Redis, one process. */
export async function lastDollarRedis(options: BenchOptions): Promise<void> {
  await askForTheLast('last-dollar-redis', { ...options, redis: true });
}

async function askForTheLast(name: string, options: BenchOptions): Promise<void> {
  await BenchSession.run(name, { ...options, tenants: 0 }, async (session) => {
    let above = 0;
    let denied = 0;
    const slowestMs: number[] = [];
    await session.subject.makeBudgets();
    for (let round = 0; round < options.rounds * 2; round += 1) {
      const tenantId = benchTenant(round);
      await session.subject.call('PUT', `/v1/tenants/${tenantId}`, { hold_durability: round % 2 === 0 ? 'fast' : 'strict' });
      await session.subject.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: '1.00', kind: 'paid' });
      const body = { tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01' };
      const startedAt = performance.now();
      const answers = await Promise.all(
        Array.from({ length: ASKED }, async () => await session.subject.call<{ decision: string }>('POST', '/v1/authorize', body)),
      );
      slowestMs.push(performance.now() - startedAt);
      const allowed = answers.filter((answer) => answer.decision === 'allow').length;
      above += Math.max(0, allowed - FITS);
      denied += Math.max(0, FITS - allowed);
    }
    publishFigures({
      name,
      figures: { rounds: options.rounds * 2, 'holds above the limit': above, 'false denials': denied, 'slowest round ms': Math.round(Math.max(...slowestMs)) },
      met: above === 0 && denied === 0,
      bar: 'holds above the limit 0, false denials 0',
    });
  });
}
