/**
 * Crossings of rolling windows. A window has no period in which something could happen once: a threshold is told when a booking finds the
 * window at or above it, and is then quiet for the window's length and at least an hour, however often it is passed (durable, PostgreSQL).
 * A window is added up from its sub-buckets, 61 probes of a primary key, and not with every booking: one that was last found below half of
 * its lowest threshold can only have reached it through a sub-bucket with 1/122 of that (domain/crossing.ts), and one above half is watched.
 * Of one batch at most 256 are added up, those with the fullest sub-buckets: the others' turn comes with a later booking. A kept sum
 * would have to be written with every booking and again whenever a sub-bucket leaves.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { NOTABLE_SHARE, quietMsOf, shareOfLowest, WATCHED_SHARE, type Passed, type Used } from '../domain/crossing.js';
import { bucketMsOf, bucketStart, oldestBucket } from '../domain/limit.js';
import { ALL_VALUES, limitsOf } from '../domain/match-budgets.js';
import type { Period } from '../domain/period.js';
import type { Addition } from './counter-rows.js';

/** A counter after the batch. */
export interface Standing {
  readonly addition: Addition;
  /** Start of the period, or of the window. */
  readonly periodMs: number;
  readonly used: Used;
}

interface Window {
  readonly addition: Addition;
  /** The fullest of its sub-buckets that the batch added to, as a share of the lowest threshold. */
  readonly share: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

const MAX_SUMMED = 256;

/** @param buckets the sub-buckets that the batch added to, as they are now */
export async function sumWindows(tx: Sql, buckets: readonly Standing[], at: Date): Promise<Standing[]> {
  const touched = windowsOf(buckets, at);
  if (touched.length === 0) return [];
  const watched = await readWatched(
    tx,
    touched.filter((window) => !isNotable(window)),
    at,
  );
  const asked = touched
    .filter((window) => isNotable(window) || watched.has(nameOf(window.addition)))
    .sort((a, b) => b.share - a.share)
    .slice(0, MAX_SUMMED);
  const standings = await addUp(tx, asked);
  await watch(
    tx,
    standings.filter((standing) => shareOf(standing) >= WATCHED_SHARE),
    at,
  );
  return standings;
}

/** A booking for a sub-bucket that has left concerns no window of now. */
function windowsOf(buckets: readonly Standing[], at: Date): Window[] {
  const windows = new Map<string, Window>();
  for (const standing of buckets) {
    const { addition, periodMs } = standing;
    const stepMs = bucketMsOf(rollingOf(addition).seconds);
    const fromMs = oldestBucket(at.getTime(), stepMs);
    if (periodMs < fromMs) continue;
    const name = nameOf(addition);
    const share = Math.max(shareOf(standing), windows.get(name)?.share ?? 0);
    windows.set(name, { addition, share, fromMs, toMs: bucketStart(at.getTime(), stepMs), stepMs });
  }
  return [...windows.values()];
}

function isNotable({ addition, share }: Window): boolean {
  return share >= NOTABLE_SHARE || addition.match.valueKey === ALL_VALUES;
}

function shareOf({ addition, used }: Standing): number {
  return shareOfLowest(addition.match.rule.budget.thresholds, limitsOf(addition.match), used);
}

function rollingOf({ match }: Addition): Extract<Period, { kind: 'rolling' }> {
  const { period } = match.rule.budget;
  return period.kind === 'rolling' ? period : { kind: 'rolling', seconds: 0 };
}

function nameOf({ tenantId, match }: Addition): string {
  return JSON.stringify([tenantId, match.rule.key, match.valueKey]);
}

function namesOf(additions: readonly Addition[]): [string, string, string] {
  return [
    textArray(additions.map(({ tenantId }) => tenantId)),
    textArray(additions.map(({ match }) => match.rule.key)),
    textArray(additions.map(({ match }) => match.valueKey)),
  ];
}

async function readWatched(tx: Sql, windows: readonly Window[], at: Date): Promise<Set<string>> {
  if (windows.length === 0) return new Set();
  const rows = await tx.query<{ tenant_id: string; budget_key: string; value_key: string }>(
    {
      name: 'quota.watched-windows',
      text: `SELECT w.tenant_id, w.budget_key, w.value_key FROM unnest($1::text[], $2::text[], $3::text[]) AS n (tenant_id, budget_key, value_key)
             JOIN quota.rolling_watch w ON w.tenant_id = n.tenant_id AND w.budget_key = n.budget_key AND w.value_key = n.value_key AND w.watch_until_ms > $4`,
    },
    [...namesOf(windows.map(({ addition }) => addition)), at.getTime()],
  );
  return new Set(rows.map((row) => JSON.stringify([row.tenant_id, row.budget_key, row.value_key])));
}

async function addUp(tx: Sql, windows: readonly Window[]): Promise<Standing[]> {
  if (windows.length === 0) return [];
  const sums = await tx.query<{ position: bigint; nano: bigint | null; tokens: bigint; requests: bigint }>(
    {
      name: 'quota.sum-windows',
      text: `SELECT n.position, s.nano, s.tokens, s.requests
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
               WITH ORDINALITY AS n (tenant_id, budget_key, value_key, from_ms, to_ms, step_ms, position)
             CROSS JOIN LATERAL (
               SELECT sum(c.used_nano)::bigint AS nano, sum(c.used_tokens)::bigint AS tokens, sum(c.used_requests)::bigint AS requests FROM quota.counter c
               WHERE c.tenant_id = n.tenant_id AND c.budget_key = n.budget_key AND c.value_key = n.value_key
                 AND c.period_ms = ANY (ARRAY(SELECT generate_series(n.from_ms, n.to_ms, n.step_ms)))) s`,
    },
    [
      ...namesOf(windows.map(({ addition }) => addition)),
      plainArray(windows.map(({ fromMs }) => fromMs)),
      plainArray(windows.map(({ toMs }) => toMs)),
      plainArray(windows.map(({ stepMs }) => stepMs)),
    ],
  );
  return sums.flatMap(({ position, nano, tokens, requests }): Standing[] => {
    const window = windows[Number(position) - 1];
    return window === undefined || nano === null ? [] : [{ addition: window.addition, periodMs: window.fromMs, used: { nano, tokens, requests } }];
  });
}

/** Written again only when half of the time is over: a busy window is not a write for every batch. */
async function watch(tx: Sql, standings: readonly Standing[], at: Date): Promise<void> {
  if (standings.length === 0) return;
  const lengths = standings.map(({ addition }) => rollingOf(addition).seconds * 1_000);
  await tx.execute(
    {
      name: 'quota.watch-windows',
      text: `INSERT INTO quota.rolling_watch AS w (tenant_id, budget_key, value_key, watch_until_ms)
             SELECT tenant_id, budget_key, value_key, $5 + 4 * length_ms FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
               AS n (tenant_id, budget_key, value_key, length_ms) ORDER BY 1, 2, 3
             ON CONFLICT (tenant_id, budget_key, value_key) DO UPDATE SET watch_until_ms = excluded.watch_until_ms
               WHERE w.watch_until_ms - $5 < (excluded.watch_until_ms - $5) / 2`,
    },
    [...namesOf(standings.map(({ addition }) => addition)), plainArray(lengths), at.getTime()],
  );
}

/** Those of `crossed` that were not told lately; from now on they were. */
export async function notQuiet<C extends Passed & { readonly addition: Addition }>(tx: Sql, crossed: readonly C[], at: Date): Promise<C[]> {
  if (crossed.length === 0) return [];
  const rows = await tx.query<{ tenant_id: string; budget_key: string; value_key: string; metric: string; percent: number }>(
    {
      name: 'quota.tell-windows',
      text: `INSERT INTO quota.rolling_crossing AS r (tenant_id, budget_key, value_key, metric, percent, quiet_until_ms)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[]) ORDER BY 1, 2, 3, 4, 5
             ON CONFLICT (tenant_id, budget_key, value_key, metric, percent) DO UPDATE SET quiet_until_ms = excluded.quiet_until_ms WHERE r.quiet_until_ms <= $7
             RETURNING tenant_id, budget_key, value_key, metric, percent`,
    },
    [
      ...namesOf(crossed.map(({ addition }) => addition)),
      textArray(crossed.map(({ metric }) => metric)),
      plainArray(crossed.map(({ percent }) => percent)),
      plainArray(crossed.map(({ addition }) => at.getTime() + quietMsOf(rollingOf(addition)))),
      at.getTime(),
    ],
  );
  const told = new Set(rows.map((row) => JSON.stringify([row.tenant_id, row.budget_key, row.value_key, row.metric, row.percent])));
  return crossed.filter(({ addition, metric, percent }) =>
    told.has(JSON.stringify([addition.tenantId, addition.match.rule.key, addition.match.valueKey, metric, percent])),
  );
}
