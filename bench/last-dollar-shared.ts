/**
 * The last dollar on three processes that share a PostgreSQL and a Redis, with `kill -9` of one of them and of Redis in the middle of 500 calls
 * on a balance that fits 100, fast and strict. Holds above the limit: promises that callers were given and that cannot have run out yet, with
 * what the ledger says is spent, looked at throughout. False denials: calls that are refused although they fit, on a second dollar after the
 * recovery, and money that is never given out again. No rate, a count.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { publishFigures } from './harness/report.js';
import { BenchSession, type BenchOptions } from './harness/session.js';
import type { Subject } from './harness/subject.js';

const ASKED = 500;
const FITS = 100;
const CALL_NANO = 10_000_000n;
const CREDIT_NANO = 1_000_000_000n;
const TTL_SECONDS = 12;
const RECOVERY_MS = 120_000;
const POLL_MS = 50;

const nano = (usd: string): bigint => BigInt(usd.replace('.', ''));

interface Balance {
  readonly posted_usd: string;
  readonly held_usd: string;
  readonly available_usd: string;
}

/** What callers know: when each promise was asked for. Before its TTL has passed since, it cannot have run out. */
class Callers {
  readonly askedAt: number[] = [];
  above = 0;

  constructor(private readonly tenantId: string) {}

  async ask(subject: Subject): Promise<void> {
    const askedAt = performance.now();
    const body = { tenant_id: this.tenantId, provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01' };
    const answer = await subject.call<{ decision: string }>('POST', '/v1/authorize', body).catch(() => null);
    if (answer?.decision === 'allow') this.askedAt.push(askedAt);
  }

  look(spentNano: bigint, at: number): void {
    const inForce = BigInt(this.askedAt.filter((askedAt) => askedAt + TTL_SECONDS * 1_000 > at).length);
    const tooMany = Number((spentNano + inForce * CALL_NANO - CREDIT_NANO + CALL_NANO - 1n) / CALL_NANO);
    this.above = Math.max(this.above, tooMany);
  }
}

export async function lastDollarShared(options: BenchOptions): Promise<void> {
  const settings = { TOLLGATE_HOLD_TTL_SECONDS: String(TTL_SECONDS), TOLLGATE_REDIS_DEADLINE_MS: '2000' };
  await BenchSession.run('last-dollar-shared', { ...options, tenants: 0, redis: true, settings }, async (session) => {
    const others = [await session.startAnother('second'), await session.startAnother('third')];
    const sum = { above: 0, denied: 0, stuckNano: 0n };
    const recoveryMs: number[] = [];
    try {
      for (let round = 0; round < options.rounds * 2; round += 1) {
        const result = await lose(session, others, `last-${round}`, round % 2 === 0 ? 'fast' : 'strict');
        sum.above += result.above;
        sum.denied += result.denied;
        sum.stuckNano += result.stuckNano;
        recoveryMs.push(result.recoveryMs);
        console.log(`round ${round + 1}: ${JSON.stringify({ ...result, stuckNano: String(result.stuckNano) })}`);
      }
    } finally {
      for (const subject of others) await subject.stop();
    }
    const denied = sum.denied + Number(sum.stuckNano / CALL_NANO);
    publishFigures({
      name: 'last-dollar-shared',
      figures: {
        rounds: options.rounds * 2,
        'holds above the limit': sum.above,
        'false denials after recovery': denied,
        'slowest until all was given out ms': Math.round(Math.max(...recoveryMs)),
      },
      met: sum.above === 0 && denied === 0,
      bar: 'holds above the limit 0 throughout, false denials 0 after recovery; holds live 12 s',
    });
  });
}

async function lose(session: BenchSession, others: Subject[], tenantId: string, durability: string) {
  const first = session.subject;
  const [second, third] = others as [Subject, Subject];
  const balance = async (): Promise<Balance> => await second.call<Balance>('GET', `/v1/tenants/${tenantId}/balance`);
  await first.call('PUT', `/v1/tenants/${tenantId}`, { hold_durability: durability, on_store_failure: 'block', unresolved_policy: 'charge_hold' });
  await first.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: '1.00', kind: 'paid' });
  const callers = new Callers(tenantId);
  let looking = false;
  const look = async (): Promise<void> => {
    if (looking) return;
    looking = true;
    const at = performance.now();
    callers.look(CREDIT_NANO - (await postedNano(session, tenantId)), at);
    looking = false;
  };
  const subjects = [first, second, third];
  const asked = Array.from({ length: ASKED }, async (_value, index) => {
    await callers.ask(subjects[index % 3] as Subject);
    if (index % 10 === 0) await look();
  });
  await asked[ASKED / 10];
  const killed = third.stop('SIGKILL');
  await session.redis.replace();
  await Promise.all([...asked, killed]);
  const lostAt = performance.now();
  let left = await balance();
  while (nano(left.available_usd) > 0n || nano(left.held_usd) > 0n) {
    if (performance.now() - lostAt > RECOVERY_MS) break;
    await Promise.all(Array.from({ length: 20 }, async (_value, index) => await callers.ask(index % 2 === 0 ? first : second)));
    await look();
    await delay(POLL_MS);
    left = await balance();
  }
  const recoveryMs = performance.now() - lostAt;
  const stuckNano = nano(left.available_usd) + nano(left.held_usd);
  const fourth = await session.startAnother('third');
  others[1] = fourth;
  await second.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: '1.00', kind: 'paid' });
  while (nano((await balance()).available_usd) < CREDIT_NANO) await delay(POLL_MS);
  const after = new Callers(tenantId);
  const recovered = [first, second, fourth];
  await Promise.all(Array.from({ length: ASKED }, async (_value, index) => await after.ask(recovered[index % 3] as Subject)));
  const allowed = after.askedAt.length;
  return {
    above: Math.max(0, callers.above) + Math.max(0, allowed - FITS),
    denied: Math.max(0, FITS - allowed),
    stuckNano,
    recoveryMs: Math.round(recoveryMs),
  };
}

/** From the ledger's own table: what the API tells may be a moment old. */
async function postedNano(session: BenchSession, tenantId: string): Promise<bigint> {
  const { rows } = await session.database.client.query<{ n: string }>(
    'SELECT lots_nano - receivable_nano AS n FROM ledger.tenant_balance WHERE tenant_id = $1',
    [tenantId],
  );
  return BigInt(rows[0]?.n ?? '0');
}
