/**
 * Where to die next. All of it: until a death stands for every side of every await. A sample: so many deaths in every step of every scene,
 * where a seed ranks each mark by itself, so that a recording that differs a little changes little of the choice.
 */
import { createHash } from 'node:crypto';
import { SCENES, type Moment, type Target } from './crash-lane.js';

/** What depends on who comes first may need another try. */
const TRIES = 3;

export interface DeathPlan {
  /** The next place to die at; null when there is none left for now. */
  next(): Target | null;
  /** @param marks what the death stood for; without the target's mark the server never came there */
  died(target: Target, marks: readonly string[]): void;
  /** What ought to have been died at and was not. */
  readonly left: readonly string[];
  report(): string;
}

/** Dies until every mark that is wanted has a death that stands for it. */
export class EveryMark implements DeathPlan {
  private readonly moments: readonly Moment[];
  private readonly waiting: Set<string>;
  private readonly covered = new Set<string>();
  /** What a death under way is expected to stand for, so that another lane does not die there too. */
  private readonly expected = new Map<Target, readonly string[]>();
  private readonly tries = new Map<string, number>();
  private readonly total: number;
  private deaths = 0;
  private readonly missed: string[] = [];

  constructor(moments: readonly Moment[], isWanted: (mark: string) => boolean) {
    this.moments = inOrderOfServers(moments);
    this.waiting = new Set(moments.flatMap(({ marks }) => marks).filter(isWanted));
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
    return [...this.missed, ...this.waiting];
  }

  report(): string {
    return `${this.total} sides of awaits and statements under way, ${this.deaths} deaths`;
  }
}

interface Step {
  readonly name: string;
  /** Ranked; no two of one moment. */
  readonly candidates: Target[];
  /** Deaths that are still owed. */
  owed: number;
}

/** Dies `perStep` times in every step of every scene. A mark the server does not come to again gives way to the next one of its step. */
export class SampleOfMarks implements DeathPlan {
  private readonly steps: readonly Step[];
  private readonly tries = new Map<Target, number>();
  private readonly again: Target[] = [];
  private readonly deaths: string[] = [];

  constructor(
    moments: readonly Moment[],
    isWanted: (mark: string) => boolean,
    private readonly perStep: number,
    private readonly seed: number,
  ) {
    const bySteps = new Map<string, Moment[]>();
    for (const moment of inOrderOfServers(moments)) {
      const name = `${moment.scene}, ${moment.step}`;
      bySteps.set(name, [...(bySteps.get(name) ?? []), moment]);
    }
    this.steps = [...bySteps].map(([name, group]) => ({ name, candidates: ranked(group, isWanted, seed), owed: perStep }));
  }

  next(): Target | null {
    const again = this.again.shift();
    if (again) return again;
    const step = this.steps.find(({ owed, candidates }) => owed > 0 && candidates.length > 0);
    if (!step) return null;
    step.owed -= 1;
    return step.candidates.shift() ?? null;
  }

  died(target: Target, marks: readonly string[]): void {
    if (marks.includes(target.mark)) {
      this.deaths.push(`${target.scene}, ${target.step}: ${target.mark}`);
      return;
    }
    const tries = (this.tries.get(target) ?? 0) + 1;
    this.tries.set(target, tries);
    if (tries < TRIES) this.again.push(target);
    else for (const step of this.steps) if (step.name === `${target.scene}, ${target.step}`) step.owed += 1;
  }

  /** Steps in which it died less often than it should. A step of a single moment has one death. */
  get left(): string[] {
    return this.steps.filter(({ owed }) => owed >= this.perStep).map(({ name }) => name);
  }

  report(): string {
    return [`seed ${this.seed}, ${this.deaths.length} deaths`, ...this.deaths].join('\n');
  }
}

/** Of each moment the mark that ranks first, as one death stands for all of it. */
function ranked(moments: readonly Moment[], isWanted: (mark: string) => boolean, seed: number): Target[] {
  const ranks = new Map<string, { rank: string; target: Target }>();
  for (const { scene, step, marks } of moments) {
    const [first] = marks
      .filter(isWanted)
      .map((mark) => ({ rank: createHash('sha256').update(`${seed} ${scene} ${step} ${mark}`).digest('hex'), target: { scene, step, mark } }))
      .toSorted(byRank);
    if (first) ranks.set(first.target.mark, first);
  }
  return [...ranks.values()].toSorted(byRank).map(({ target }) => target);
}

function byRank(a: { readonly rank: string }, b: { readonly rank: string }): number {
  return a.rank < b.rank ? -1 : 1;
}

function inOrderOfServers(moments: readonly Moment[]): Moment[] {
  return moments.toSorted((a, b) => SCENES[b.scene].ttlSeconds - SCENES[a.scene].ttlSeconds);
}
