import { ThrottledWakeUp } from './spend-wake-up.js';

// As an ES module the test gets jest's own object from import.meta, not as a global.
const timers = (import.meta as unknown as { jest: typeof jest }).jest;

describe('ThrottledWakeUp', () => {
  beforeEach(() => timers.useFakeTimers());
  afterEach(() => timers.useRealTimers());

  it('sends at most one message per shard and 250 ms, and the last wake-up is always followed by one', async () => {
    const sent: number[] = [];
    const wakeUp = new ThrottledWakeUp(
      (shard) => {
        sent.push(shard);
        return Promise.resolve();
      },
      () => undefined,
    );
    for (let call = 0; call < 1_000; call += 1) wakeUp.wake([1, 2]);
    await timers.advanceTimersByTimeAsync(0);
    expect(sent).toEqual([1, 2]);
    wakeUp.wake([1]);
    await timers.advanceTimersByTimeAsync(249);
    expect(sent).toEqual([1, 2]);
    await timers.advanceTimersByTimeAsync(1);
    expect(sent).toEqual([1, 2, 1]);
  });

  it('sends once more when a wake-up arrived while one was being sent', async () => {
    const finish: (() => void)[] = [];
    const wakeUp = new ThrottledWakeUp(
      () => new Promise<void>((resolve) => finish.push(resolve)),
      () => undefined,
    );
    wakeUp.wake([7]);
    await timers.advanceTimersByTimeAsync(0);
    for (let call = 0; call < 10; call += 1) wakeUp.wake([7]);
    await timers.advanceTimersByTimeAsync(1_000);
    expect(finish).toHaveLength(1);
    finish[0]?.();
    await timers.advanceTimersByTimeAsync(250);
    expect(finish).toHaveLength(2);
  });

  it('never fails its caller: a dead queue is reported and the next wake-up tries again', async () => {
    const failures: unknown[] = [];
    const wakeUp = new ThrottledWakeUp(
      () => Promise.reject(new Error('queue away')),
      (error) => failures.push(error),
    );
    wakeUp.wake([1]);
    await timers.advanceTimersByTimeAsync(0);
    wakeUp.wake([1]);
    await timers.advanceTimersByTimeAsync(250);
    expect(failures).toHaveLength(2);
  });

  it('sends nothing after close', async () => {
    const sent: number[] = [];
    const wakeUp = new ThrottledWakeUp(
      (shard) => {
        sent.push(shard);
        return Promise.resolve();
      },
      () => undefined,
    );
    wakeUp.wake([1]);
    wakeUp.close();
    await timers.advanceTimersByTimeAsync(1_000);
    expect(sent).toEqual([]);
  });
});
