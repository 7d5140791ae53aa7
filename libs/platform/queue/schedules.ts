/**
 * Work that comes round by the clock. Guarantees: a task never runs twice at once in this process, a failure is reported and the
 * next turn comes all the same, and `close()` returns when what is under way is finished. Two processes may run the same task at the
 * same moment: each task makes that harmless in PostgreSQL (row locks, SKIP LOCKED), because a lock here could not.
 */
export interface ScheduledTask {
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<unknown>;
}

export class Schedules {
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private readonly running = new Set<Promise<void>>();
  private closed = false;

  constructor(private readonly onError: (error: unknown, task: string) => void) {}

  /** First run at once, the next `everyMs` after the end of each. */
  start(tasks: readonly ScheduledTask[]): void {
    for (const task of tasks) this.schedule(task, 0);
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
    await Promise.all(this.running);
  }

  private schedule(task: ScheduledTask, delayMs: number): void {
    const timer = setTimeout(() => {
      const turn = this.turn(task).finally(() => {
        this.running.delete(turn);
        if (!this.closed) this.schedule(task, task.everyMs);
      });
      this.running.add(turn);
    }, delayMs);
    this.timers.set(task.name, timer);
  }

  private async turn(task: ScheduledTask): Promise<void> {
    try {
      await task.run();
    } catch (error) {
      this.onError(error, task.name);
    }
  }
}
