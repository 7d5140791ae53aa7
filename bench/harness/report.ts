/** Rounds A B A B, the median ratio with its range, a table for people and a file for comparisons. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Probes } from './probes.js';

export interface Round {
  readonly probes: Probes;
  /** Per second. */
  readonly subject: number;
  readonly yardstick: number;
  /** Shown beside, never part of the ratio. */
  readonly beside?: Readonly<Record<string, number>>;
}

export interface BenchReport {
  readonly name: string;
  /** What is counted per second: "events", "requests". */
  readonly unit: string;
  readonly yardstickName: string;
  readonly firstBar: number;
  readonly moonshot: number;
  /** Sizes, connections, tenants: whatever somebody needs to repeat it. */
  readonly setting: Readonly<Record<string, string | number>>;
  readonly rounds: readonly Round[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** Runs `round` n times and says how each went. */
export async function rounds(count: number, round: (index: number) => Promise<Round>): Promise<Round[]> {
  const done: Round[] = [];
  for (let index = 0; index < count; index += 1) {
    const result = await round(index);
    done.push(result);
    console.log(`round ${index + 1}/${count}: ${Math.round(result.subject)} against ${Math.round(result.yardstick)} per second, ratio ${ratio(result)}`);
  }
  return done;
}

function ratio(round: Round): string {
  return twoDecimals(round.subject / round.yardstick);
}

function twoDecimals(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** More figures are a line each. */
const MOST_COLUMNS = 6;

/** A bench without a yardstick: figures and whether they meet the bar. */
export function publishFigures(report: {
  readonly name: string;
  readonly figures: Readonly<Record<string, number>>;
  readonly met: boolean;
  readonly bar: string;
}): void {
  console.table(Object.keys(report.figures).length > MOST_COLUMNS ? report.figures : [report.figures]);
  console.log(`${report.name}: ${report.met ? 'first bar met' : 'FIRST BAR MISSED'} (${report.bar})`);
  write(report.name, { ...report, verdict: report.met ? 'first bar met' : 'FIRST BAR MISSED' });
}

function write(name: string, result: object): void {
  mkdirSync('bench/results', { recursive: true });
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version };
  writeFileSync(`bench/results/${name}.json`, `${JSON.stringify({ ...result, commit: commit(), at: new Date().toISOString(), machine }, null, 2)}\n`);
}

/** Prints the table and writes bench/results/<name>.json. */
export function publish(report: BenchReport): void {
  const ratios = report.rounds.map((round) => round.subject / round.yardstick);
  const summary = { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
  const verdict = summary.median >= report.moonshot ? 'moonshot met' : summary.median >= report.firstBar ? 'first bar met' : 'FIRST BAR MISSED';
  console.table(
    report.rounds.map((round) => ({
      [`subject ${report.unit}/s`]: Math.round(round.subject),
      [`${report.yardstickName}/s`]: Math.round(round.yardstick),
      ratio: ratio(round),
      ...Object.fromEntries(Object.entries(round.beside ?? {}).map(([name, value]) => [name, Math.round(value * 10) / 10])),
      'select 1/s': round.probes.selectOnePerS,
      'fsync/s': round.probes.fsyncPerS,
    })),
  );
  console.log(
    `${report.name}: median ratio ${twoDecimals(summary.median)} (${twoDecimals(summary.min)} to ${twoDecimals(summary.max)}), first bar ${report.firstBar}, moonshot ${report.moonshot}: ${verdict}`,
  );
  console.log(`  ${JSON.stringify(report.setting)}`);
  write(report.name, { ...report, ratio: summary, verdict });
}

function commit(): string {
  try {
    const dirty = execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }) === '' ? '' : ' with changes';
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim() + dirty;
  } catch {
    return 'unknown';
  }
}
