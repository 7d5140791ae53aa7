/** Starts a yardstick server in a process of its own. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export class HttpYardstick {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
  ) {}

  /** `answer`: the subject's own answer, so that both write the same bytes. */
  static async start(name: 'bare' | 'empty', answer: unknown): Promise<HttpYardstick> {
    const child = fork(fileURLToPath(new URL(`./${name}.js`, import.meta.url)));
    child.send(answer as object);
    const [port] = (await once(child, 'message')) as [number];
    return new HttpYardstick(child, port);
  }

  stop(): void {
    this.child.kill();
  }
}
