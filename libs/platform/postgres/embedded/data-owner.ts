/**
 * One program per data folder. Guarantees: while the owner lives, a second one is refused with its process id in the message; an
 * owner that died by `kill -9` does not have to be cleared by hand, and a reused process id is not mistaken for it.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { startTimeOf } from './process-table.js';

interface Owner {
  readonly pid: number;
  readonly startTime: string | null;
}

export class DataFolderInUseError extends Error {
  constructor(directory: string, pid: number) {
    super(`process ${pid} is already running on the data folder ${directory}; stop it first, or give this one its own TOLLGATE_DATA_DIR`);
    this.name = 'DataFolderInUseError';
  }
}

/** Takes the folder for this process. Returns how to give it back. @throws DataFolderInUseError */
export function takeDataFolder(directory: string): () => void {
  const file = `${directory}/owner.json`;
  const self: Owner = { pid: process.pid, startTime: startTimeOf(process.pid) };
  for (let attempt = 1; ; attempt += 1) {
    try {
      writeFileSync(file, JSON.stringify(self), { flag: 'wx', mode: 0o600 });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 3) throw error;
      const owner = read(file);
      if (owner && owner.startTime !== null && startTimeOf(owner.pid) === owner.startTime) throw new DataFolderInUseError(directory, owner.pid);
      rmSync(file, { force: true });
    }
  }
}

function read(file: string): Owner | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner;
  } catch {
    return null;
  }
}
