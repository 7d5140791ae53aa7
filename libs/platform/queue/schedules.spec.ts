import { Schedules } from './schedules.js';

const timers = (import.meta as unknown as { jest: typeof jest }).jest;

describe('Schedules', () => {
  beforeEach(() => timers.useFakeTimers());
  afterEach(() => timers.useRealTimers());

  it('never runs a task twice at once and counts the pause from its end', async () => {
    const finish: (() => void)[] = [];
    const schedules = new Schedules(() => undefined);
    schedules.start([{ name: 'slow', everyMs: 100, run: () => new Promise<void>((resolve) => finish.push(resolve)) }]);
    await timers.advanceTimersByTimeAsync(1_000);
    expect(finish).toHaveLength(1);
    finish[0]?.();
    await timers.advanceTimersByTimeAsync(99);
    expect(finish).toHaveLength(1);
    await timers.advanceTimersByTimeAsync(1);
    expect(finish).toHaveLength(2);
  });

  it('reports a failure by name and goes on', async () => {
    const failures: string[] = [];
    const schedules = new Schedules((_error, task) => failures.push(task));
    schedules.start([{ name: 'broken', everyMs: 10, run: () => Promise.reject(new Error('no')) }]);
    await timers.advanceTimersByTimeAsync(25);
    expect(failures).toEqual(['broken', 'broken', 'broken']);
    await schedules.close();
    await timers.advanceTimersByTimeAsync(100);
    expect(failures).toHaveLength(3);
  });

  it('waits at close for what is under way', async () => {
    let finish = (): void => undefined;
    let closed = false;
    const schedules = new Schedules(() => undefined);
    schedules.start([{ name: 'slow', everyMs: 10, run: () => new Promise<void>((resolve) => (finish = resolve)) }]);
    await timers.advanceTimersByTimeAsync(0);
    const closing = schedules.close().then(() => (closed = true));
    await timers.advanceTimersByTimeAsync(50);
    expect(closed).toBe(false);
    finish();
    await closing;
    expect(closed).toBe(true);
  });
});
