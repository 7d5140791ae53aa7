/** Done-when 3, F8, F13: kill -9 between any two awaits of authorize, settle, release, extend, expiry, posting and the relay. */
import { buildCrashTree, CrashLane, type CrashTree, type Moment, type Scene, type Target } from '../support/crash-lane.js';
import { cleanUpPrograms } from '../support/standalone.js';

const TIMEOUT_MS = 600_000;
const SCENES: readonly Scene[] = ['calls', 'expiry', 'recover'];

describe('crash', () => {
  let tree: CrashTree;
  beforeAll(() => {
    tree = buildCrashTree();
  });
  afterAll(async () => {
    await cleanUpPrograms();
    tree.remove();
  }, TIMEOUT_MS);

  it('records', async () => {
    const moments: Moment[] = [];
    for (const scene of SCENES) {
      const lane = await CrashLane.open(tree);
      const t = performance.now();
      moments.push(...(await lane.record(scene)));
      console.log(scene, performance.now() - t);
      await lane.checkAll();
      await lane.close();
    }
    (await import('node:fs')).writeFileSync('/tmp/moments.json', JSON.stringify({ points: tree.points, moments }));
  }, TIMEOUT_MS);
});
