/**
 * One database, one server after another: each is told where to die, dies there in the middle of its stories, and the next one has to
 * find the books as they must be, finish the stories of the dead one and begin its own.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CrashStory, ExpiryStory } from './crash-story.js';
import { openTestDatabase, type TestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { makeDataDir, startStandalone, type Program } from './standalone.js';

/** What is played when the server dies. `recover`: it dies while it takes over from a dead one whose holds ran out. */
export type Scene = 'calls' | 'expiry' | 'recover';

/** Marks with nothing but the process's own memory between them, in the order they were passed, and the step that was under way. */
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
  private server: Program | null = null;

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
    if (scene === 'recover') await this.leaveHoldsBehind();
    const program = await this.start(scene, scene === 'recover' ? { mode: 'recording' } : null);
    const stories = scene === 'recover' ? this.stories : this.begin(scene);
    if (scene === 'recover') {
      for (const story of stories) await story.checkEnd(program);
      await note(program, scene);
      return moments;
    }
    for (const { name } of stories[0]?.steps ?? []) {
      await program.tell({ mode: 'recording' });
      for (const story of stories) await story.tell(program, name);
      await note(program, name);
    }
    return moments;
  }

  /** Dies at the target. Returns the marks that this death stands for; none when the server never came there. */
  async dieAt(target: Target): Promise<string[]> {
    const file = join(this.dataDir, 'death.json');
    rmSync(file, { force: true });
    const armed = { mode: 'armed', target: { mark: target.mark, file } };
    if (target.scene === 'recover') {
      await this.leaveHoldsBehind();
      await this.start('recover', armed).then(
        async (program) => await this.expectDeath(program),
        () => undefined,
      );
    } else {
      const program = await this.start(target.scene, null);
      const stories = this.begin(target.scene);
      const before = stories[0]?.steps.map(({ name }) => name) ?? [];
      const earlier = before[before.indexOf(target.step) - 1];
      if (earlier !== undefined) for (const story of stories) await story.tell(program, earlier);
      await program.tell(armed);
      await Promise.all(stories.map(async (story) => await story.tell(program, target.step))).catch(() => undefined);
      await this.expectDeath(program);
    }
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as string[];
    } catch {
      return [];
    }
  }

  /** The books of everything that died so far, by a server that does not die. */
  async checkAll(): Promise<void> {
    await this.start('calls', null);
  }

  /** Starts the next server, and has it finish what the dead one left. */
  private async start(scene: Scene, first: object | null): Promise<Program> {
    await this.server?.end('SIGKILL');
    this.server = null;
    const program = await startStandalone({
      dataDir: this.dataDir,
      root: this.tree.folder,
      environment: { DATABASE_URL: this.database.url, TOLLGATE_HOLD_TTL_SECONDS: scene === 'calls' ? '900' : '1' },
      channel: { first },
    });
    this.server = program;
    if (first === null) await this.finish(program);
    return program;
  }

  private async finish(program: Program): Promise<void> {
    for (const story of this.stories) {
      await story.checkAfterDeath(program);
      await story.tell(program);
      await story.checkEnd(program);
    }
    this.stories = [];
    const { body } = await program.call('GET', '/v1/ledger/check');
    expect(body).toMatchObject({ drift: [] });
  }

  private begin(scene: Scene): CrashStory[] {
    const make = scene === 'calls' ? CrashStory : ExpiryStory;
    this.stories = [new make('strict'), new make('fast')];
    return this.stories;
  }

  /** A server died while holds were open; when the next one comes, their time has run out. */
  private async leaveHoldsBehind(): Promise<void> {
    const program = await this.start('expiry', null);
    for (const story of this.begin('expiry')) await story.tell(program, 'authorize');
    await program.end('SIGKILL');
    this.server = null;
    await eventually('the holds ran out', async () => {
      const [row] = await this.database.db.query<{ open: bigint }>(`SELECT count(*) AS open FROM quota.hold WHERE state = 'active' AND expires_at > now()`);
      return row?.open === 0n;
    });
  }

  private async expectDeath(program: Program): Promise<void> {
    const alive = new AbortController();
    const timeout = new Promise<'alive'>((done) => {
      const timer = setTimeout(() => done('alive'), STILL_ALIVE_MS);
      alive.signal.addEventListener('abort', () => clearTimeout(timer));
    });
    const outcome = await Promise.race([program.ended, timeout]);
    alive.abort();
    if (outcome === 'alive') await program.tell({ mode: 'off' });
  }
}
