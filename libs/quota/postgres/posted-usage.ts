/**
 * Where booked events count: by the same matcher as authorize. An event whose hold is known counts where the hold was asked, in its period
 * and by what it said about the call (H8); any other by its own fields, at the time inside its hold's id or when it occurred. Where the two
 * differ it is remembered, so that taking the booking back subtracts where it was added.
 */
import type { SpendMovement } from '#libs/metering/index.js';
import { plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantRules } from '../application/rule-book.js';
import { ATTRIBUTES, type Attributes } from '../domain/budget.js';
import { attributesOf } from '../domain/hold.js';
import { periodMsOf, type RuleSet } from '../domain/match-budgets.js';
import { ownPlace, type Placement } from '../domain/placement.js';
import { isRequest, tokensOf } from '../domain/usage-amounts.js';
import type { Addition } from './counter-rows.js';
import { fromHoldRow, type HoldRow } from './hold-rows.js';

export interface BookedMovement {
  readonly movement: SpendMovement;
  readonly callDigest: string | null;
}

/** What the movements add to counters, in key order: one addition for each. */
export async function additionsOf(tx: Sql, rows: readonly BookedMovement[], rules: ReadonlyMap<string, TenantRules>, at: Date): Promise<Addition[]> {
  const counted = rows.filter(({ movement }) => rules.get(movement.tenantId)?.set.isEmpty === false);
  if (counted.length === 0) return [];
  const places = await placesOf(tx, counted, rules, at);
  const sums = new Map<string, Addition>();
  counted.forEach(({ movement }, index) => {
    const place = places[index];
    const set = rules.get(movement.tenantId)?.set;
    if (!place || !set) return;
    const sign = BigInt(movement.sign);
    for (const match of set.match(place.call, place.atMs)) {
      const periodMs = periodMsOf(match, place.atMs);
      const key = JSON.stringify([movement.tenantId, match.rule.key, periodMs, match.valueKey]);
      const sum = sums.get(key);
      sums.set(key, {
        tenantId: movement.tenantId,
        match,
        periodMs,
        nano: (sum?.nano ?? 0n) + sign * movement.chargeNano,
        tokens: (sum?.tokens ?? 0n) + sign * tokensOf(movement.usage),
        requests: (sum?.requests ?? 0n) + (isRequest(movement) ? sign : 0n),
        values: sum?.values ?? valuesOf(match.rule.budget.per, place.call),
      });
    }
  });
  return [...sums.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, addition]) => addition);
}

function valuesOf(per: readonly (typeof ATTRIBUTES)[number][], call: Attributes): Record<string, string> {
  return Object.fromEntries(per.map((attribute) => [attribute, call[attribute] ?? '']));
}

async function placesOf(tx: Sql, rows: readonly BookedMovement[], rules: ReadonlyMap<string, TenantRules>, at: Date): Promise<Placement[]> {
  const holds = await holdPlaces(tx, rows);
  const remembered = await rememberedPlaces(tx, rows);
  // One that is booked and taken back in the same batch is not written yet.
  const here = new Map<string, Placement>();
  // A better report of the same call stands where the one that it replaces stood.
  const takenBack = new Map<string, Placement>();
  const elsewhere: { movement: SpendMovement; place: Placement }[] = [];
  const places = rows.map(({ movement }, index) => {
    const own = ownPlace(movement);
    if (movement.sign === -1) {
      const place = here.get(movement.eventId) ?? remembered.get(movement.eventId) ?? own;
      for (const name of namesOf(rows[index])) takenBack.set(name, place);
      return place;
    }
    const before = namesOf(rows[index]).flatMap((name) => takenBack.get(name) ?? []);
    const place = holds.get(index) ?? before[0] ?? own;
    here.set(movement.eventId, place);
    if (place !== own && !isSame(place, own, rules.get(movement.tenantId)?.set)) elsewhere.push({ movement, place });
    return place;
  });
  await remember(tx, elsewhere, at);
  return places;
}

function namesOf(row: BookedMovement | undefined): string[] {
  if (row === undefined) return [];
  const { movement, callDigest } = row;
  return [
    ...(movement.holdId === null ? [] : [`${movement.tenantId} hold ${movement.holdId}`]),
    ...(callDigest === null ? [] : [`${movement.tenantId} call ${callDigest}`]),
  ];
}

/** Whether both say the same about the call and end in the same counters: a second more or less seldom matters. */
function isSame(left: Placement, right: Placement, set: RuleSet | undefined): boolean {
  const tags = ({ call }: Placement): string => JSON.stringify(Object.entries(call.tags ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (tags(left) !== tags(right) || ATTRIBUTES.some((attribute) => left.call[attribute] !== right.call[attribute])) return false;
  const counters = ({ call, atMs }: Placement): string =>
    JSON.stringify(set?.match(call, atMs).map((match) => [match.rule.key, match.valueKey, periodMsOf(match, atMs)]) ?? []);
  return left.atMs === right.atMs || counters(left) === counters(right);
}

/** The holds of new bookings, by position: named by id, else the open one of their call. */
async function holdPlaces(tx: Sql, rows: readonly BookedMovement[]): Promise<Map<number, Placement>> {
  const places = new Map<number, Placement>();
  const asked = rows.flatMap(({ movement, callDigest }, position) =>
    movement.sign === 1 && (movement.holdId !== null || callDigest !== null)
      ? [{ position, tenantId: movement.tenantId, holdId: movement.holdId, digest: movement.holdId === null ? callDigest : null }]
      : [],
  );
  if (asked.length === 0) return places;
  const found = await tx.query<HoldRow & { position: bigint }>(
    {
      name: 'quota.holds-of-bookings',
      text: `SELECT n.position, h.* FROM unnest($1::text[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS n (tenant_id, hold_id, call_digest, position)
             CROSS JOIN LATERAL (
               SELECT * FROM quota.hold WHERE hold_id = n.hold_id AND tenant_id = n.tenant_id
               UNION ALL SELECT * FROM quota.hold WHERE tenant_id = n.tenant_id AND call_digest = n.call_digest AND state = 'active'
               UNION ALL SELECT * FROM quota.hold WHERE tenant_id = n.tenant_id AND call_digest = n.call_digest AND state = 'unresolved'
               LIMIT 1) h`,
    },
    [
      textArray(asked.map(({ tenantId }) => tenantId)),
      plainArray(asked.map(({ holdId }) => holdId)),
      textArray(asked.map(({ digest }) => (digest === null ? null : `\\x${digest}`))),
    ],
  );
  for (const row of found) {
    const position = asked[Number(row.position) - 1]?.position;
    const hold = fromHoldRow(row);
    if (position === undefined || hold.facts === null) continue;
    const call = attributesOf(hold.tenantId, hold.facts);
    places.set(position, { atMs: hold.createdAtMs, call: { ...call, source: call.source ?? rows[position]?.movement.sourceId ?? null } });
  }
  return places;
}

async function rememberedPlaces(tx: Sql, rows: readonly BookedMovement[]): Promise<Map<string, Placement>> {
  const reversals = rows.filter(({ movement }) => movement.sign === -1);
  if (reversals.length === 0) return new Map();
  const found = await tx.query<{ event_id: string; at: Date; call: Attributes }>(
    `SELECT p.event_id, p.at, p."call" FROM unnest($1::text[], $2::uuid[]) AS n (tenant_id, event_id)
     JOIN quota.placement p ON p.tenant_id = n.tenant_id AND p.event_id = n.event_id`,
    [textArray(reversals.map(({ movement }) => movement.tenantId)), plainArray(reversals.map(({ movement }) => movement.eventId))],
  );
  return new Map(found.map((row) => [row.event_id, { atMs: row.at.getTime(), call: row.call }]));
}

async function remember(tx: Sql, placed: readonly { movement: SpendMovement; place: Placement }[], at: Date): Promise<void> {
  if (placed.length === 0) return;
  const byEvent = [...placed].sort((a, b) => (a.movement.eventId < b.movement.eventId ? -1 : 1));
  await tx.execute(
    {
      name: 'quota.remember-places',
      text: `INSERT INTO quota.placement (tenant_id, event_id, at, "call", posted_at)
             SELECT *, $5::timestamptz FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::jsonb[]) ON CONFLICT DO NOTHING`,
    },
    [
      textArray(byEvent.map(({ movement }) => movement.tenantId)),
      plainArray(byEvent.map(({ movement }) => movement.eventId)),
      timeArray(byEvent.map(({ place }) => new Date(place.atMs))),
      textArray(byEvent.map(({ place }) => JSON.stringify(place.call))),
      at,
    ],
  );
}
