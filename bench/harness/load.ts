/** What the load generator is told and what it answers. It runs in a process of its own (load-process.ts), like a real sender. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BodyTemplate } from '../payloads/template.js';

export interface LoadOrder {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly template: BodyTemplate;
  /** Bodies of the same length that take turns; by default the template's alone. */
  readonly variants?: readonly (readonly string[])[];
  /** Requests a second, sent at their time whether or not others were answered; without it each connection sends when it was answered. */
  readonly ratePerS?: number;
  /** Releases the holds of the answers when the time is over; not measured. `first` keeps so many of them open. */
  readonly release?: { readonly keep: number };
  /** Sends each variant once instead of going by time. */
  readonly once?: boolean;
  readonly connections: number;
  readonly durationMs: number;
  /** Text every good answer contains. */
  readonly expect: string;
  /** Text of good answers that are counted apart. */
  readonly other?: string;
  /** At most 8 characters; makes the ids of this run distinct from those of every other. */
  readonly run: string;
}

export interface LoadResult {
  readonly requests: number;
  readonly events: number;
  /** Answered 503 and sent again: the server's bounded queue was full. */
  readonly refused: number;
  /** From the first byte sent to the last answer read. */
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that contain the second text instead of the expected one. */
  readonly others: number;
  /** One answer, for its size. */
  readonly sampleAnswer: string;
}

export class LoadGenerator {
  private constructor(private readonly child: ChildProcess) {}

  static start(): LoadGenerator {
    return new LoadGenerator(fork(fileURLToPath(new URL('./load-process.js', import.meta.url)), { serialization: 'advanced' }));
  }

  /** @throws Error when an answer is not what was expected */
  async run(order: LoadOrder): Promise<LoadResult> {
    this.child.send(order);
    const [answer] = (await once(this.child, 'message')) as [LoadResult | { failure: string }];
    if ('failure' in answer) throw new Error(`load on ${order.path}: ${answer.failure}`);
    return answer;
  }

  /** Stops sending until resumed; requests under way end. */
  pause(paused: boolean): void {
    this.child.send({ paused });
  }

  stop(): void {
    this.child.kill();
  }
}
