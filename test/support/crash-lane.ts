/**
 * One database, one server after another: each is told where to die, dies there in the middle of its stories, and the next one has to
 * find the books as they must be, finish the stories of the dead one and begin its own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { textArray } from '#libs/platform/postgres/array-literal.js';
import { CrashStory, ExpiryStory } from './crash-story.js';
import { openTestDatabase, type TestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { makeDataDir, startStandalone, type Program } from './standalone.js';

/**
 * What is played when the server dies. In the last two it dies while it takes over from one that died before, and what is asked of it first
 * is not the state of the books but the next step of a call.
 */
export const SCENES = {
  calls: { story: CrashStory, ttlSeconds: 900, takesOverAfter: null },
  expiry: { story: ExpiryStory, ttlSeconds: 1, takesOverAfter: null },
  'take over calls': { story: CrashStory, ttlSeconds: 900, takesOverAfter: 'busy' },
  'take over expired': { story: ExpiryStory, ttlSeconds: 1, takesOverAfter: 'authorize' },
} as const;
export type Scene = keyof typeof SCENES;

/** Marks with nothing lasting between them, in the order they were passed, and the step that was under way. */
export interface Moment {
  readonly scene: Scene;
  readonly step: string;
  readonly marks: readonly string[];
}

export interface Target {
  readonly scene: Scene;
  readonly step: string;
  readonly mark: string;
}

const ROOT = resolve(import.meta.dirname, '../..');
/** A step that was waited for to its end is followed by a round of every schedule but the slowest, which comes once a second. */
const STILL_ALIVE_MS = 1_500;

export interface CrashTree {
  readonly folder: string;
  /** Every await of the flows: `file Class.method#n`. */
  readonly points: readonly { readonly name: string; readonly text: string }[];
  remove(): void;
}

/** The server that can be told to die. */
export function buildCrashTree(): CrashTree {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-crash-'));
  const run = spawnSync(process.execPath, [join(ROOT, 'scripts/build-crash-tree.mjs'), folder], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr);
  const points = JSON.parse(readFileSync(join(folder, 'points.json'), 'utf8')) as CrashTree['points'];
  return { folder, points, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export class CrashLane {
  private readonly dataDir = makeDataDir();
  private stories: CrashStory[] = [];
  private played: Scene = 'calls';
  private server: Program | null = null;
  private lastTarget: Target | null = null;

  private constructor(
    private readonly tree: CrashTree,
    readonly database: TestDatabase,
  ) {}

  static async open(tree: CrashTree): Promise<CrashLane> {
    return new CrashLane(tree, await openTestDatabase());
  }

  async close(): Promise<void> {
    await this.server?.end('SIGKILL');
    await this.database.close();
  }

  /** Everything that is passed between the awaits of one scene, step by step. */
  async record(scene: Scene): Promise<Moment[]> {
    const moments: Moment[] = [];
    const note = async (program: Program, step: string): Promise<void> => {
      const heard = (await program.tell({ mode: 'off' })) as { moments: string[][] };
      for (const marks of heard.moments) moments.push({ scene, step, marks });
    };
    if (SCENES[scene].takesOverAfter === null) {
      const program = await this.start(scene);
      const stories = this.begin(scene);
      for (const { name } of stories[0]?.steps ?? []) {
        if (name !== 'set up') await program.tell({ mode: 'recording' });
        for (const story of stories) await story.tell(program, name);
        if (name !== 'set up') await note(program, name);
      }
    } else {
      await this.leaveBehind(scene);
      const program = await this.start(scene, { mode: 'recording' });
      await this.goOn(program);
      await note(program, 'take over');
    }
    return moments;
  }

  /** Dies at the target. Returns the marks that this death stands for; none when the server never came there. */
  async dieAt(target: Target): Promise<string[]> {
    const marks = await this.tryToDieAt(target);
    if (marks.length > 0 || this.stories.length === 0) return marks;
    // What a dead one left is sent again to the next, which takes nothing for new for a while: one that finished nothing goes the quick way.
    await this.start(target.scene);
    return await this.tryToDieAt(target);
  }

  private async tryToDieAt(target: Target): Promise<string[]> {
    const { scene, step, mark } = target;
    const file = join(this.dataDir, 'death.json');
    rmSync(file, { force: true });
    const order = { mode: 'armed', target: { mark, file, signal: 'SIGKILL' } };
    if (SCENES[scene].takesOverAfter === null) {
      const program = await this.start(scene);
      const stories = this.begin(scene);
      const names = stories[0]?.steps.map(({ name }) => name) ?? [];
      const earlier = names[names.indexOf(step) - 1];
      if (earlier !== undefined) for (const story of stories) await story.tell(program, earlier);
      await program.tell(order);
      this.lastTarget = target;
      await untilDeath(program, Promise.all(stories.map(async (story) => await story.tell(program, step))));
    } else {
      await this.leaveBehind(scene);
      this.lastTarget = target;
      // It may die before it listens.
      const program = await this.start(scene, order).catch(() => null);
      if (program !== null) await untilDeath(program, this.goOn(program));
    }
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as string[]) : [];
  }

  /** The books of everything that died so far, by a server that does not die. */
  async checkAll(): Promise<void> {
    await this.start('calls');
  }

  /** Starts the next server. One that has no order yet begins by finishing what the dead one left. */
  private async start(scene: Scene, order: object | null = null): Promise<Program> {
    // Calls of the one kind of server cannot be finished by the other: there they would run out, or not.
    if (this.stories.length > 0 && SCENES[this.played].ttlSeconds !== SCENES[scene].ttlSeconds) await this.start(this.played);
    await this.server?.end('SIGKILL');
    this.server = null;
    const program = await startStandalone({
      dataDir: this.dataDir,
      root: this.tree.folder,
      environment: {
        DATABASE_URL: this.database.url,
        TOLLGATE_HOLD_TTL_SECONDS: String(SCENES[scene].ttlSeconds),
        ...(order === null ? {} : { CRASH_ORDER: JSON.stringify(order) }),
      },
      channel: true,
    });
    this.server = program;
    if (order === null)
      await this.finish(program).catch((error: unknown) => {
        throw new Error(`after the death at ${JSON.stringify(this.lastTarget)}`, { cause: error });
      });
    return program;
  }

  private async finish(program: Program): Promise<void> {
    for (const story of this.stories) await story.checkAfterDeath(program);
    await this.goOn(program);
    this.stories = [];
    const { body } = await program.call('GET', '/v1/ledger/check');
    expect(body).toMatchObject({ drift: [] });
  }

  private async goOn(program: Program): Promise<void> {
    for (const story of this.stories) {
      await story.tell(program);
      await story.checkEnd(program);
    }
  }

  private begin(scene: Scene): CrashStory[] {
    const { story } = SCENES[scene];
    this.played = scene;
    this.stories = [new story('strict'), new story('fast')];
    return this.stories;
  }

  /** A server dies in the middle; where holds run out, they have done so when the next one comes. */
  private async leaveBehind(scene: Scene): Promise<void> {
    const program = await this.start(scene);
    for (const story of this.begin(scene)) await story.tell(program, SCENES[scene].takesOverAfter ?? '');
    await program.end('SIGKILL');
    this.server = null;
    if (SCENES[scene].story !== ExpiryStory) return;
    await eventually('the holds ran out', async () => {
      const [row] = await this.database.db.query<{ open: bigint }>(
        `SELECT count(*) AS open FROM quota.hold WHERE state = 'active' AND expires_at > now() AND tenant_id = ANY($1::text[])`,
        [textArray(this.stories.map(({ tenantId }) => tenantId))],
      );
      return row?.open === 0n;
    });
  }
}

/** Plays until the server is dead, or it is clear that it will not die. @throws what the play failed with on a server that lives */
async function untilDeath(program: Program, play: Promise<unknown>): Promise<void> {
  const failure = await play.then(
    () => null,
    (error: unknown) => ({ error }),
  );
  const waiting = new AbortController();
  const survived = delay(STILL_ALIVE_MS, 'survived', { signal: waiting.signal }).catch(() => 'dead');
  const outcome = await Promise.race([program.ended, survived]);
  waiting.abort();
  if (outcome === 'survived' && failure !== null) throw failure.error;
}
