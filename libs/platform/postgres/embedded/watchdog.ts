/**
 * No orphaned database. A shell waits at the other end of a pipe; when this process ends in whatever way, `kill -9` included, the
 * pipe closes and the shell stops the postmaster. A shell and not a second Node because it costs 1 MB, and lives in its own session
 * so that a Ctrl-C or a signal to our process group does not reach it.
 */
import { spawn, type ChildProcess } from 'node:child_process';

// $1 is the data folder. Each line read is the id of the postmaster to guard. The id is only used while postmaster.pid names it.
// INT is PostgreSQL's fast shutdown (sessions ended, checkpoint written); QUIT, after 20 s, the immediate one.
const SCRIPT = `
guarded=
while IFS= read -r line; do guarded=$line; done
named() { IFS= read -r first 2>/dev/null < "$1/postmaster.pid" && [ "$first" = "$guarded" ] && kill -0 "$guarded" 2>/dev/null; }
[ -n "$guarded" ] && named "$1" || exit 0
kill -INT "$guarded"
seconds=0
while named "$1" && [ "$seconds" -lt 20 ]; do sleep 1; seconds=$((seconds + 1)); done
named "$1" && kill -QUIT "$guarded"
exit 0
`;

export class Watchdog {
  private readonly shell: ChildProcess;

  constructor(dataDirectory: string) {
    this.shell = spawn('/bin/sh', ['-c', SCRIPT, 'tollgate-watchdog', dataDirectory], {
      detached: true,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin' },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.shell.unref();
    this.shell.on('error', () => undefined);
    this.shell.stdin?.on('error', () => undefined);
    (this.shell.stdin as { unref?: () => void } | null)?.unref?.();
  }

  guard(postmaster: number): void {
    this.shell.stdin?.write(`${postmaster}\n`);
  }

  /** After a clean stop there is nothing left to guard, and the shell ends. */
  async dismiss(): Promise<void> {
    if (this.shell.exitCode !== null || this.shell.signalCode !== null) return;
    this.shell.ref();
    const ended = new Promise<void>((resolve) => this.shell.once('exit', () => resolve()));
    this.shell.stdin?.end();
    await ended;
  }
}
