/** Done-when of the simulation: what it says of a day is what enforcing the same budget on the same day really did, to the nano-dollar. */
import { formatUsd, parseUsd } from '#libs/kernel/index.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { dumpRowVersions } from '../support/database-dump.js';
import { DAY_START, DEMO_SHARE, demoDay, MOST_OUTPUT_TOKENS, replay, type ReplayAnswer } from '../support/demo-replay.js';

interface Scene {
  readonly timezone: string;
  readonly budget: object;
  /** What has to happen, so that equal means something. */
  readonly sees: readonly ('block' | 'downgrade' | 'shortened')[];
}

const LADDERS = { 'gpt-4o': ['gpt-4o-mini'], 'claude-opus-4-6': ['claude-sonnet-4-5-20250929'] };
const BLOCK_ONLY = [{ percent: 100, action: 'block' }];
/** A limit that all users share, for those of them that are here. */
const shared = (limit: number): number => Math.ceil(limit / DEMO_SHARE);
const sharedUsd = (limitUsd: string): string => formatUsd(parseUsd(limitUsd) / BigInt(DEMO_SHARE));

const SCENES: Readonly<Record<string, Scene>> = {
  acme: {
    timezone: 'Europe/Vienna',
    budget: {
      per: ['user_id'],
      period: 'week',
      limit_usd: '0.019',
      thresholds: [
        { percent: 90, action: 'downgrade' },
        { percent: 100, action: 'block' },
      ],
    },
    sees: ['block', 'downgrade', 'shortened'],
  },
  globex: {
    timezone: 'UTC',
    budget: { scope: { feature: 'document_summarize' }, period: { rolling_seconds: 7_200 }, limit_usd: sharedUsd('6.40'), thresholds: BLOCK_ONLY },
    sees: ['block', 'downgrade', 'shortened'],
  },
  initech: {
    timezone: 'Asia/Kolkata',
    budget: { per: ['user_id'], period: 'hour', limit_tokens: 18_000, thresholds: BLOCK_ONLY },
    sees: ['block', 'shortened'],
  },
  umbrella: {
    timezone: 'America/New_York',
    budget: { period: { rolling_seconds: 3_600 }, limit_requests: shared(90), thresholds: BLOCK_ONLY },
    sees: ['block'],
  },
  hooli: { timezone: 'UTC', budget: { period: 'day', limit_concurrent: shared(4), thresholds: BLOCK_ONLY }, sees: ['block'] },
  soylent: {
    timezone: 'Pacific/Auckland',
    budget: {
      period: 'total',
      limit_usd: sharedUsd('2.40'),
      thresholds: [
        { percent: 50, action: 'downgrade' },
        { percent: 53, action: 'block' },
      ],
    },
    sees: ['downgrade', 'block'],
  },
};
const CREDIT = '10000';

async function makeWorld(budgets: boolean): Promise<TestApi> {
  const api = await startTestApi({ clock: new FixedClock(new Date(DAY_START)) });
  await api.call('PUT', '/v1/routes', { body: LADDERS });
  for (const [tenantId, { timezone, budget }] of Object.entries(SCENES)) {
    await api.call('PUT', `/v1/tenants/${tenantId}`, { body: { timezone } });
    await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: CREDIT, kind: 'paid' }, headers: { 'idempotency-key': tenantId } });
    if (!budgets) continue;
    const { status, body } = await api.call('PUT', `/v1/tenants/${tenantId}/budgets/tried`, { body: budget });
    if (status !== 201 || body.warming) throw new Error(JSON.stringify(body));
  }
  return api;
}

describe('a draft budget, simulated over the demo day', () => {
  const calls = demoDay(DEMO_SHARE);
  let free: TestApi;
  let enforcing: TestApi;
  let enforced: ReplayAnswer[];
  beforeAll(async () => {
    [free, enforcing] = [await makeWorld(false), await makeWorld(true)];
    await replay(free, calls);
    enforced = await replay(enforcing, calls);
  }, 600_000);
  afterAll(async () => {
    await free.close();
    await enforcing.close();
  });

  const simulate = async (tenantId: string, change: object = {}): Promise<any> => {
    const from = new Date(DAY_START).toISOString();
    const body = { ...SCENES[tenantId]?.budget, from, blocked_calls: 5_000, ...change };
    const answer = await free.call('POST', `/v1/tenants/${tenantId}/budgets/simulate`, { body });
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    return answer.body;
  };
  const spentOf = async (api: TestApi, tenantId: string): Promise<bigint> =>
    parseUsd(CREDIT) - parseUsd((await api.call('GET', `/v1/tenants/${tenantId}/balance`)).body.posted_usd);

  it.each(Object.keys(SCENES))('%s: the same calls are blocked and the same dollars spent as where it was enforced', async (tenantId) => {
    const really = enforced.filter(({ call }) => call.tenantId === tenantId);
    const blocked = really.filter(({ decision }) => decision === 'block');
    const simulated = await simulate(tenantId);
    expect(simulated.blocked.map((row: any) => [row.call_id, row.reason, row.used, row.held, row.counter.limit])).toEqual(
      blocked.map(({ call, reason, binding }) => [call.callId, reason, binding?.used, binding?.held, binding?.limit]),
    );
    expect(simulated.calls).toMatchObject({
      looked_at: really.length,
      downgraded: really.filter(({ decision }) => decision === 'downgrade').length,
      blocked: blocked.length,
    });
    const shorter = really.filter(
      ({ decision, maxOutputTokens }) => decision !== 'block' && (maxOutputTokens ?? MOST_OUTPUT_TOKENS) < MOST_OUTPUT_TOKENS,
    ).length;
    expect(simulated.calls.shortened).toBe(shorter);
    // Equal must not mean that nothing happened.
    const happened = { block: blocked.length, downgrade: simulated.calls.downgraded, shortened: shorter };
    expect(SCENES[tenantId]?.sees.filter((what) => happened[what] === 0)).toEqual([]);
    const [would, was] = [await spentOf(enforcing, tenantId), await spentOf(free, tenantId)];
    expect([parseUsd(simulated.allowed_usd), parseUsd(simulated.recorded_usd)]).toEqual([would, was]);
    expect(simulated.truncated).toBe(false);
  });

  it('and no row of any table is touched', async () => {
    const before = await dumpRowVersions(free.database.url);
    await simulate('acme');
    expect(await dumpRowVersions(free.database.url)).toEqual(before);
  });
});
