/**
 * Done-when 3 (F8, F13): kill -9 between any two awaits of authorize, settle, release, extend, expiry, posting and the relay. The points are
 * found in the built program, not listed here; each that a scene passes is died at, with what was passed since anything lasting
 * left or came counted as the same moment (test/support/crash-points.js). What no scene passes is named below with its reason, or fails.
 *
 * By default it dies at two marks of every step of every scene (one where a step is a single moment: 23 or 24 deaths), which jest's seed
 * chooses. The seed is printed; to choose the same again: npm test -- test/e2e/crash-points --seed <seed>. TOLLGATE_CRASH_POINTS=all dies at
 * every one of them, which takes too long for every change and is for releases.
 */
import { EveryMark, SampleOfMarks } from '../support/crash-coverage.js';
import { buildCrashTree, CrashLane, SCENES, type CrashTree, type Moment, type Scene } from '../support/crash-lane.js';
import { cleanUpPrograms } from '../support/standalone.js';

const TIMEOUT_MS = 900_000;
const ALL_TIMEOUT_MS = 7_200_000;
const EVERY = process.env['TOLLGATE_CRASH_POINTS'] === 'all';
const LANES = 2;
/** Of a sample, of which there are twelve steps. */
const DEATHS_PER_STEP = 2;

/** Points and statements that are not died at, and why. A line that matches nothing any more fails too. */
const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [
    /postgres-ledger-reader|ledger-store\.ts PostgresLedgerStore\.(findLots|markVoided|lockTenants#[23]|openLot|findAnswer|saveAnswer)/,
    'reads, and bookings by hand',
  ],
  [/put-source|replay-dead-letter|requeue-quarantined|dead-letter|event-reader|source-directory\.ts .*\.(list|read|write)#/, 'work of an operator'],
  [
    /put-budget|put-routes|change-budget|follow-time-zones|warm-budgets|back-fill|posted-spend-reader|putAside#1/,
    'settings of budgets and their back-fill: work of an operator, see limits-restart.spec.ts',
  ],
  [
    /budget-store\.ts .*\.(change|find|lastVersion|save|list|inZone|zones|warming|overrides|saveOverride|removeOverride|findTopUp|insertTopUp|ladders|replaceLadders)#/,
    'the rows of those settings',
  ],
  [
    /\/(lease-|reclaim-leases|postgres-lease|shared-counters|leave-shared|count-shared|cover-open-calls|every-tenant)|reserveSlowly#3|extendSlowly#3/,
    'limits that all tenants share: their own deaths and late wakings are in shared-leases.spec.ts and model/shared-budgets.spec.ts',
  ],
  [/nameValues#3|raiseRevision|readFull#1/, 'a budget with ten thousand counters'],
  [/read-limits|crossing-reader|budget-store\.ts .*\.values#|standingRows/, 'reads of limits and crossings, promise nothing'],
  [/tell-crossings|relay-outbox/, 'tells people what was booked, after its commit and at least once: see threshold-alerts.spec.ts'],
  [/rolling-windows/, 'further statements of the posting transaction beside those of crossings, in which is died; no scene has a rolling budget'],
  [/key-balances|credit-key|key-credit-store/, 'balances of keys: opened and credited by an operator, held and booked as any budget'],
  [/recognise-key|maySetUpTenants/, 'keys of tenants and who may set up tenants: read before anything is promised'],
  [/PlanCandidates/, 'routes and shorter answers: what to ask for is worked out without a promise, and then the same reservation'],
  [/AuthorizeCall\.ask#3|RuleBook\.refresh/, 'rules that change while a call is asked: read again, then the same reservation'],
  [
    /forget-old-quota-rows|forgetDecisions|forgetHolds|forgetCounters|KeepPartitionsAhead|ForgetOldEventKeys|trimOutbox|MeasurePostingLag/,
    'housekeeping, moves no money',
  ],
  [/^sent (DELETE FROM (platform\.outbox WHERE created_at|quota\.|metering\.event_key)|SELECT metering\.ensure)/, 'statements of that housekeeping'],
  [
    /decision-log|decision-rows|insertDecisions|readDecisions|DecisionReader|^sent INSERT INTO quota\.decision/,
    'the log of decisions is written behind and may lose its tail',
  ],
  [
    /StopPromising|sealCeilings|GroupCommit\.drain|Database\.(close|constructor)/,
    'a connection is opened, or all are closed: a clean stop, and dying in it is dying before it',
  ],
  [
    /writeAround#[234]|refusePoison|postAround|setAside|postBatch#7|takePending#1|tellSetAside#1|uarantine|HoldJournal\.write(Around|Batch#2)/,
    'an event or hold the database refuses',
  ],
  [
    /Database\.attempt#8|takeEpoch#2|withinDeadline#1|QuotaService\.raise#4|ReadHeld\.heldNano#4|HoldReader\.heldNano/,
    'PostgreSQL is away or too slow, or the lock is lost',
  ],
  [/AuthorizeController\.authorize#1|AuthorizeCall\.(setUp|decide#2)|findTenants#2/, 'a tenant nobody registered: made before anything is promised'],
  [/AuthorizeCall\.price#3|chargeHolds#1|quota-held-amounts/, 'a model without a price: the same reservation, and the same booking of what the hold has left'],
  [/endChargeless/, 'a hold whose charge the inbox took for known or too old: it waits five minutes, and is taken up again by whoever loads it'],
  [/takeFromMemory#2/, 'events of a process that died, read inside the posting transaction: the moment of takeFromMemory#1'],
  [/claimKeys#2|moveKeys|moveCalls|writeCarefully#9|stillPending|putBack#1/, 'reports that change their mind in flight: the inbox, see kill.spec.ts'],
  [
    /\/redis\/|store-nodes|assertNodeEpochs|NodeEpochs|keepOnlyNodes|claimNode|local-slices|rememberAskers|fromOtherProcess|finishOthers|loadWithMissing|findForgotten#6|readHolds|forgetUnwritten|QuotaService\.(constructor#1|loadAnew#2|secure#1)|readTenantSnapshots#[1-4]$|relayOf#[123]|quota\.module\.ts module#/,
    'the shared store, which this process has none of: deaths of processes and of servers are in quota-redis.spec.ts and quota-redis-orphans.spec.ts',
  ],
  [
    /simulat|past-steps|hold-history|spend-history|askStore#[34]/,
    'a simulation reads the past and writes nothing; what it shares with authorize is passed there',
  ],
  [
    /RuleBook\.(find#1|patiently|check)|Database\.(query|run)#1 < \S*postgres-rule-store/,
    'rules are asked for again when nobody asked for a second: a read before anything is promised',
  ],
  [
    /waitForLoad|RelayBalances\.apply#1|extendSlowly#2|QuotaService\.release#[23]|QuotaService\.raise#[15]|fromRows#[246]/,
    'only when two meet within a millisecond',
  ],
];

describe('kill -9 between any two awaits', () => {
  let tree: CrashTree;
  let moments: Moment[];
  beforeAll(async () => {
    tree = buildCrashTree();
    moments = (await inLanes(Object.keys(SCENES) as Scene[], tree, async (lane, scene) => await lane.record(scene))).flat();
  }, TIMEOUT_MS);
  afterAll(async () => {
    await cleanUpPrograms();
    tree.remove();
  }, TIMEOUT_MS);

  it('every await of the flows is passed by a scene or left out for a reason', () => {
    const passed = new Set(moments.flatMap(({ marks }) => marks.map(pointOf)));
    const names = tree.points.map(({ name }) => name);
    expect(names.filter((name) => !passed.has(name) && !isLeftOut(name))).toEqual([]);
    const known = [...names, ...moments.flatMap(({ marks }) => marks)];
    expect(LEFT_OUT.filter(([pattern]) => !known.some((name) => pattern.test(name)))).toEqual([]);
    expect(names.filter((name) => !isLeftOut(name)).length).toBeGreaterThan(150);
  });

  it(
    'a death there loses no promise and no charge, counts nothing twice, and a strict call_id answers as before',
    async () => {
      const isWanted = (mark: string): boolean => !isLeftOut(mark) && isOfFlows(mark, tree.points);
      const plan = EVERY ? new EveryMark(moments, isWanted) : new SampleOfMarks(moments, isWanted, DEATHS_PER_STEP, import.meta.jest.getSeed());
      await inLanes([...Array(LANES).keys()], tree, async (lane) => {
        for (let target = plan.next(); target; target = plan.next()) plan.died(target, await lane.dieAt(target));
        await lane.checkAll();
      }).finally(() => console.log(plan.report()));
      expect(plan.left).toEqual([]);
    },
    EVERY ? ALL_TIMEOUT_MS : TIMEOUT_MS,
  );
});

async function inLanes<Work, Result>(work: readonly Work[], tree: CrashTree, run: (lane: CrashLane, work: Work) => Promise<Result>): Promise<Result[]> {
  const queue = [...work];
  const results: Result[] = [];
  const lanes = Array.from({ length: LANES }, async () => {
    const lane = await CrashLane.open(tree);
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.push(await run(lane, next));
    } finally {
      await lane.close();
    }
  });
  // Each ends for itself: one that failed must not leave the other behind.
  for (const lane of await Promise.allSettled(lanes)) if (lane.status === 'rejected') throw lane.reason;
  return results;
}

function pointOf(mark: string): string {
  return mark.replace(/^(before|after) /, '').replace(/ < .*/, '');
}

/** Plumbing called by somebody else, such as the refresh of prices, is none of the flows'. */
function isOfFlows(mark: string, points: CrashTree['points']): boolean {
  const caller = / < (.+)\.js:\d+$/.exec(mark)?.[1];
  return caller === undefined || points.some(({ name }) => name.startsWith(`${caller}.ts `));
}

function isLeftOut(name: string): boolean {
  return LEFT_OUT.some(([pattern]) => pattern.test(name));
}
