/**
 * Done-when 3 (F8, F13): kill -9 between any two awaits of authorize, settle, release, extend, expiry, posting and the relay. The points are
 * found in the built program, not listed here; each that a scene passes is died at, with what was passed since anything lasting
 * left or came counted as the same moment (test/support/crash-points.js). What no scene passes is named below with its reason, or fails.
 */
import { buildCrashTree, CrashLane, SCENES, type CrashTree, type Moment, type Scene, type Target } from '../support/crash-lane.js';
import { cleanUpPrograms } from '../support/standalone.js';

const TIMEOUT_MS = 900_000;
const LANES = 2;
/** What depends on who comes first may need another try. */
const TRIES = 3;

/** Points and statements that are not died at, and why. A line that matches nothing any more fails too. */
const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [
    /postgres-ledger-reader|ledger-store\.ts PostgresLedgerStore\.(findLots|markVoided|lockTenants#[23]|openLot|findAnswer|saveAnswer)/,
    'reads, and bookings by hand',
  ],
  [/put-source|replay-dead-letter|requeue-quarantined|dead-letter|event-reader|source-directory\.ts .*\.(list|read|write)#/, 'work of an operator'],
  [/forget-old-quota-rows|forgetDecisions|forgetHolds|KeepPartitionsAhead|ForgetOldEventKeys|trimOutbox|MeasurePostingLag/, 'housekeeping, moves no money'],
  [/^sent (DELETE FROM (platform\.outbox WHERE created_at|quota\.|metering\.event_key)|SELECT metering\.ensure)/, 'statements of that housekeeping'],
  [
    /decision-log|insertDecisions|readDecisions|DecisionReader|^sent INSERT INTO quota\.decision/,
    'the log of decisions is written behind and may lose its tail',
  ],
  [
    /StopPromising|sealCeilings|GroupCommit\.drain|Database\.(close|constructor)/,
    'a connection is opened, or all are closed: a clean stop, and dying in it is dying before it',
  ],
  [
    /writeAround#[234]|refusePoison|postAround|setAside|postBatch#7|takePending#2|uarantine|HoldJournal\.write(Around|Batch#2)/,
    'an event or hold the database refuses',
  ],
  [/Database\.attempt#7|takeEpoch#2|withinDeadline#1|raise#5|ReadHeld\.heldNano#4|HoldReader\.heldNano/, 'PostgreSQL is away or too slow, or the lock is lost'],
  [/AuthorizeController\.authorize#1|AuthorizeCall\.(setUp|decide#2)|findTenants#2/, 'a tenant nobody registered: made before anything is promised'],
  [/AuthorizeCall\.decide#5/, 'a model without a price: the same reservation'],
  [/claimKeys#2|moveKeys|moveCalls|stillPending|putBack#1/, 'reports that change their mind in flight: the inbox, see kill.spec.ts'],
  [/waitForLoad|RelayBalances\.apply#1|extendSlowly#2|QuotaService\.release#[23]|raise#1|fromRows#4/, 'only when two meet within a millisecond'],
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
      const coverage = new Coverage(tree, moments);
      await inLanes([...Array(LANES).keys()], tree, async (lane) => {
        for (let target = coverage.next(); target; target = coverage.next()) coverage.died(target, await lane.dieAt(target));
        await lane.checkAll();
      });
      console.log(coverage.report());
      expect([...coverage.missed, ...coverage.left]).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Which marks still wait for a death that stands for them. */
class Coverage {
  private readonly moments: readonly Moment[];
  private readonly waiting: Set<string>;
  private readonly covered = new Set<string>();
  /** What a death under way is expected to stand for, so that another lane does not die there too. */
  private readonly expected = new Map<Target, readonly string[]>();
  private readonly tries = new Map<string, number>();
  private readonly total: number;
  private deaths = 0;
  readonly missed: string[] = [];

  constructor({ points }: CrashTree, moments: readonly Moment[]) {
    this.moments = moments.toSorted((a, b) => SCENES[b.scene].ttlSeconds - SCENES[a.scene].ttlSeconds);
    this.waiting = new Set(moments.flatMap(({ marks }) => marks).filter((mark) => !isLeftOut(mark) && isOfFlows(mark, points)));
    this.total = this.waiting.size;
  }

  /** The end of the moment that has most of what waits: a death there stands for what was passed before it. */
  next(): Target | null {
    let best: Moment | null = null;
    let most = 0;
    for (const moment of this.moments) {
      // Scenes of one kind of server after the other: changing it costs a start more.
      if (best !== null && SCENES[moment.scene].ttlSeconds !== SCENES[best.scene].ttlSeconds) break;
      // To die while taking over needs two servers.
      const starts = SCENES[moment.scene].takesOverAfter === null ? 1 : 2;
      const worth = moment.marks.reduce((sum, mark) => sum + (this.waiting.has(mark) ? 1 : 0), 0) / starts;
      if (worth > most) [best, most] = [moment, worth];
    }
    const mark = best?.marks.findLast((each) => this.waiting.has(each));
    if (best === null || mark === undefined) return null;
    const target = { scene: best.scene, step: best.step, mark };
    const expected = best.marks.slice(0, best.marks.indexOf(mark) + 1).filter((each) => this.waiting.has(each));
    for (const each of expected) this.waiting.delete(each);
    this.expected.set(target, expected);
    return target;
  }

  died(target: Target, marks: readonly string[]): void {
    this.deaths += 1;
    for (const mark of marks) {
      this.covered.add(mark);
      this.waiting.delete(mark);
    }
    const others = this.expected.get(target)?.filter((mark) => mark !== target.mark && !this.covered.has(mark)) ?? [];
    for (const mark of others) this.waiting.add(mark);
    if (this.covered.has(target.mark)) return;
    const tries = (this.tries.get(target.mark) ?? 0) + 1;
    this.tries.set(target.mark, tries);
    if (tries < TRIES) this.waiting.add(target.mark);
    else this.missed.push(target.mark);
  }

  get left(): string[] {
    return [...this.waiting];
  }

  report(): string {
    return `${this.total} sides of awaits and statements under way, ${this.deaths} deaths`;
  }
}

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
