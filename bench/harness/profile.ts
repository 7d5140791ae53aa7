/** The functions in which the server spent its time, from the CPU profile it wrote when it ended (`--profile`). */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

interface CpuProfile {
  readonly nodes: readonly { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const TOP = 20;

/** Prints the largest profile of `directory`: the others are those of watchdogs and other small children. */
export function printProfile(directory: string): void {
  const texts = readdirSync(directory)
    .filter((name) => name.endsWith('.cpuprofile'))
    .map((name) => readFileSync(join(directory, name), 'utf8'));
  const largest = texts.toSorted((a, b) => b.length - a.length)[0];
  if (largest === undefined) return;
  const profile = JSON.parse(largest) as CpuProfile;
  const names = new Map(profile.nodes.map((node) => [node.id, nameOf(node.callFrame)]));
  const selfMicros = new Map<string, number>();
  profile.samples.forEach((id, index) => {
    const name = names.get(id) ?? '?';
    selfMicros.set(name, (selfMicros.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
  const total = [...selfMicros.values()].reduce((sum, micros) => sum + micros, 0);
  const rows = [...selfMicros].toSorted((a, b) => b[1] - a[1]).slice(0, TOP);
  console.table(rows.map(([name, micros]) => ({ 'self %': Math.round((micros / total) * 1_000) / 10, 'self ms': Math.round(micros / 1_000), function: name })));
}

function nameOf(frame: { functionName: string; url: string; lineNumber: number }): string {
  const file = frame.url.startsWith('file://') ? relative(process.cwd(), frame.url.slice('file://'.length)) : frame.url;
  return `${frame.functionName || '(anonymous)'} ${file === '' ? '' : `${file}:${frame.lineNumber + 1}`}`;
}
