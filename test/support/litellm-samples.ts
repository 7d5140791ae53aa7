/**
 * The LiteLLM payload samples of test/fixtures/litellm and what each must come to. Their times are shifted by this one helper so that
 * the latest of them ended a second before `now`: distances between them stay, and every door's time window lets them in.
 */
import { readFileSync } from 'node:fs';
import { isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';

const FOLDER = new URL('../fixtures/litellm/', import.meta.url);
const TIMES = ['startTime', 'endTime', 'completionStartTime'] as const;
const ENDED_BEFORE_NOW_SECONDS = 1;

/** Files that hold exactly one call each; together every call of the batch files too. */
export const LITELLM_SAMPLES = [
  'success',
  'stream',
  'stream-aborted-no-usage',
  'stream-aborted-partial-usage',
  'failure-rate-limit',
  'failure-blocked-by-hook',
  'cache-hit',
  'anthropic-cache-tokens',
  'unpriced-model',
] as const;
export type LiteLlmSample = (typeof LITELLM_SAMPLES)[number];

export interface ExpectedSample {
  readonly event_id: string;
  readonly tenant_id: string;
  readonly status: string;
  readonly quality: string;
  readonly usage: Record<string, number | Record<string, number>> | null;
  /** Quantity and USD per unit of each component: what cost_usd was worked out from, by hand. */
  readonly working: Record<string, readonly [quantity: number, usdPerUnit: string]>;
  /** Null: quarantined, nothing is booked. */
  readonly cost_usd: string | null;
  readonly claimed_cost_usd: string | null;
}

export interface ExpectedLiteLlm {
  readonly samples: Record<LiteLlmSample, ExpectedSample>;
  readonly totals_by_tenant: Record<string, { readonly cost_usd: string; readonly events: number; readonly quarantined: number }>;
  readonly cost_usd: string;
}

/** Literals worked out by hand; see the file's own `working`. */
export function expectedLiteLlm(): ExpectedLiteLlm {
  return JSON.parse(readFixture('expected.json')) as ExpectedLiteLlm;
}

/** The text of one file of test/fixtures/litellm, as it is. */
export function readFixture(file: string): string {
  return readFileSync(new URL(file, FOLDER), 'utf8');
}

/** One sample with its times shifted to just before `now`. */
export function liteLlmSample(name: LiteLlmSample, now: Date): JsonObject {
  return shiftTimes(JSON.parse(readFixture(`${name}.json`)) as Json, secondsToShift(now)) as JsonObject;
}

/** The body of one fixture file (`batch-array.json`, `batch.ndjson`, ...) with its times shifted to just before `now`. */
export function liteLlmBody(file: string, now: Date): string {
  const text = readFixture(file);
  const seconds = secondsToShift(now);
  if (!file.endsWith('.ndjson')) return JSON.stringify(shiftTimes(JSON.parse(text) as Json, seconds));
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => JSON.stringify(shiftTimes(JSON.parse(line) as Json, seconds))).join('\n');
}

/** The same shift for every sample, so that a call keeps its id and its distance to the others wherever it appears. */
function secondsToShift(now: Date): number {
  const ends = LITELLM_SAMPLES.map((name) => (JSON.parse(readFixture(`${name}.json`)) as { endTime: number }).endTime);
  return Math.floor(now.getTime() / 1000 - ENDED_BEFORE_NOW_SECONDS - Math.max(...ends));
}

function shiftTimes(value: Json, seconds: number): Json {
  if (Array.isArray(value)) return value.map((item) => shiftTimes(item, seconds));
  if (!isJsonObject(value)) return value;
  const shifted: JsonObject = { ...value };
  for (const field of TIMES) {
    const time = shifted[field];
    if (typeof time === 'number') shifted[field] = time + seconds;
  }
  return shifted;
}
