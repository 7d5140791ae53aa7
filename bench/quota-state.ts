/** What the quota state of 100,000 tenants and 10,000 open holds takes in memory, and how long an empty store takes to answer for them again, over HTTP. */
import { publishFigures } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import { authorizeTemplates } from './payloads/template.js';

const TENANTS = 100_000;
const OPEN_HOLDS = 10_000;
const CONNECTIONS = 64;
const ALLOWED = '"decision":"allow"';
const PREFIX = 'many-';
const DIGITS = 6;

/** Tenants with a credit limit of $100, made in one statement: what is measured is the quota, not the set-up. */
const MAKE_TENANTS = `INSERT INTO tenancy.tenant (tenant_id, billing, credit_limit_nano, enforcement, created_at, updated_at)
  SELECT '${PREFIX}' || lpad(n::text, ${DIGITS}, '0'), 'prepaid', 100000000000, 'enforce', now(), now() FROM generate_series(0, ${TENANTS - 1}) AS n`;

async function askAll(session: BenchSession, run: string, keep: number): Promise<{ elapsedMs: number; p50Ms: number; p99Ms: number }> {
  const bodies = authorizeTemplates(TENANTS, PREFIX, DIGITS);
  return await session.send({ path: '/v1/authorize', ...bodies, connections: CONNECTIONS, seconds: 0, expect: ALLOWED, run, once: true, release: { keep } });
}

export async function memory(options: BenchOptions): Promise<void> {
  await BenchSession.run('memory', { ...options, tenants: 1, scope: 'authorize' }, async (session) => {
    await session.database.client.query(MAKE_TENANTS);
    const before = session.subject.residentMb();
    await askAll(session, 'seen', OPEN_HOLDS);
    const after = session.subject.residentMb();
    publishFigures({
      name: 'memory',
      figures: { 'MB at start': Math.round(before), 'MB with 100,000 tenants and 10,000 holds': Math.round(after) },
      met: after <= 400,
      bar: 'at most 400 MB (moonshot 250)',
    });
  });
}

export async function rebuild(options: BenchOptions): Promise<void> {
  await BenchSession.run('rebuild', { ...options, tenants: 1, scope: 'authorize' }, async (session) => {
    await session.database.client.query(MAKE_TENANTS);
    await session.subject.makeBudgets();
    await askAll(session, 'fill', OPEN_HOLDS);
    await session.restartSubject();
    const cold: number[] = [];
    for (let index = 0; index < 200; index += 1) {
      const tenantId = `${PREFIX}${String(TENANTS - 1 - index).padStart(DIGITS, '0')}`;
      const startedAt = performance.now();
      await session.subject.call('POST', '/v1/authorize', { tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', input_tokens: 1, max_output_tokens: 1 });
      cold.push(performance.now() - startedAt);
    }
    cold.sort((a, b) => a - b);
    const all = await askAll(session, 'again', 0);
    const coldMs = cold[100] ?? Number.NaN;
    publishFigures({
      name: 'rebuild',
      figures: {
        'one cold tenant ms (median of 200)': Math.round(coldMs * 10) / 10,
        'p99 ms': Math.round((cold[198] ?? 0) * 10) / 10,
        'all 100,000 tenants s': Math.round(all.elapsedMs / 100) / 10,
      },
      met: all.elapsedMs <= 30_000 && coldMs <= 10,
      bar: 'at most 30 s and 10 ms (moonshot 5 s and 2 ms)',
    });
  });
}
