/**
 * Quota's part in the posting transaction: where one process alone may work on the database, a stale one is refused here; what each event
 * takes from its hold and adds to counters, and how large answers are. Only tenants that have ever asked for a hold or that have budgets are
 * written, so a tenant that is merely metered costs nothing here. An event that is rated after a provisional charge keeps its place: what it
 * took is replaced, and the hold that it closed then is not looked for again, for its call id may have been given to another call since.
 */
import type { Clock, Nano } from '#libs/kernel/index.js';
import { PostingParticipant, type SpendMovement } from '#libs/metering/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { BOOKED_TOPIC, toCounterPayload, type CapturePayload, type CounterPayload } from '../application/booked-payload.js';
import type { QuotaFence } from '../application/ports.js';
import { callDigestOf } from '../application/quota-service.js';
import { RULES_LOCK_KEY, type RuleBook } from '../application/rule-book.js';
import { bucketOfTokens } from '../domain/output-sizes.js';
import { endsItsHold, isRequest, tokensOf } from '../domain/usage-amounts.js';
import { countAdditions } from './count-additions.js';
import { deltasOf } from '../domain/booked-amounts.js';
import type { Addition } from './counter-rows.js';
import { assertEpoch, epochOf } from './epoch.js';
import { BELONGS_TO_HOLD } from './hold-rows.js';
import { additionsOf, type BookedMovement } from './posted-usage.js';

type CaptureRow = BookedMovement;

/** Whoever changes rules waits for the postings under way, so that every posting is either before a change or knows it. */
const RULES_LOCK = { name: 'quota.share-rules', text: `SELECT pg_advisory_xact_lock_shared(${RULES_LOCK_KEY})` };

export class QuotaParticipant extends PostingParticipant {
  constructor(
    private readonly fence: QuotaFence,
    private readonly rules: RuleBook,
    private readonly clock: Clock,
  ) {
    super();
  }

  /** @throws DomainError quota.stale_epoch, quota.fenced: the batch is then posted by whoever has the right to */
  override async onPosted(tx: Sql, movements: readonly SpendMovement[]): Promise<void> {
    if (this.fence.exclusive) await assertEpoch(tx, epochOf(this.fence));
    if (movements.length === 0) return;
    const asking = await this.tenantsWithHolds(tx, movements);
    await tx.execute(RULES_LOCK);
    const rules = await this.rules.findInside(tx, [...new Set(movements.map((movement) => movement.tenantId))]);
    const own = movements.filter(({ tenantId }) => asking.has(tenantId) || rules.get(tenantId)?.hasBudgets === true);
    if (own.length === 0) return;
    const rows = own.map((movement): CaptureRow => ({
      movement,
      callDigest: movement.callId === null ? null : callDigestOf(movement.tenantId, movement.callId),
    }));
    const captures = rows.filter(({ movement, callDigest }) => asking.has(movement.tenantId) && (movement.holdId !== null || callDigest !== null));
    const at = this.clock.now();
    const additions = await additionsOf(tx, rows, rules, at);
    await insertCaptures(tx, captures, at);
    const news = captures.filter(({ movement }) => !(movement.rerated && endsItsHold(movement)));
    await settleUnresolved(tx, news);
    await markCharged(tx, news);
    await learnOutputs(
      tx,
      own.filter(({ tenantId }) => asking.has(tenantId)),
    );
    const seqs = await nextTallies(tx, [...news.map(({ movement }) => movement.tenantId), ...additions.map(({ tenantId }) => tenantId)]);
    await countAdditions(tx, additions, seqs, at);
    await tellStore(tx, news, additions, seqs);
  }

  private async tenantsWithHolds(tx: Sql, movements: readonly SpendMovement[]): Promise<Set<string>> {
    const tenantIds = [...new Set(movements.map((movement) => movement.tenantId))];
    const rows = await tx.query<{ tenant_id: string }>(
      { name: 'quota.tenants-with-holds', text: 'SELECT tenant_id FROM quota.reserve WHERE tenant_id = ANY($1::text[])' },
      [textArray(tenantIds)],
    );
    return new Set(rows.map((row) => row.tenant_id));
  }
}

/** The next number of each tenant's bookings: the store applies them in this order, once. One poster at a time works on a tenant. */
async function nextTallies(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
  if (tenantIds.length === 0) return new Map();
  const rows = await tx.query<{ tenant_id: string; seq: bigint }>(
    {
      name: 'quota.next-tallies',
      text: `INSERT INTO quota.tally AS t (tenant_id, seq) SELECT named, 1 FROM unnest($1::text[]) AS named ORDER BY named
             ON CONFLICT (tenant_id) DO UPDATE SET seq = t.seq + 1 RETURNING tenant_id, seq`,
    },
    [textArray([...new Set(tenantIds)].sort())],
  );
  return new Map(rows.map((row) => [row.tenant_id, row.seq]));
}

async function insertCaptures(tx: Sql, captures: readonly CaptureRow[], at: Date): Promise<void> {
  const rows = addUp(captures);
  if (rows.length === 0) return;
  await tx.execute(
    {
      name: 'quota.insert-captures',
      text: `INSERT INTO quota.capture AS c (tenant_id, event_id, sign, hold_id, call_digest, charge_nano, closes, provisional, tenant_seq, tokens, requests, posted_at)
             SELECT *, $12::timestamptz FROM unnest($1::text[], $2::uuid[], $3::smallint[], $4::uuid[], $5::bytea[], $6::bigint[], $7::boolean[], $8::boolean[], $9::bigint[], $10::bigint[],
               $11::smallint[])
             ON CONFLICT (tenant_id, event_id, sign) DO UPDATE
               SET charge_nano = c.charge_nano + excluded.charge_nano, tokens = c.tokens + excluded.tokens, requests = c.requests + excluded.requests,
                   closes = c.closes OR excluded.closes, tenant_seq = coalesce(excluded.tenant_seq, c.tenant_seq)`,
    },
    [
      textArray(rows.map(({ movement }) => movement.tenantId)),
      plainArray(rows.map(({ movement }) => movement.eventId)),
      plainArray(rows.map(({ movement }) => movement.sign)),
      plainArray(rows.map(({ movement }) => movement.holdId)),
      textArray(rows.map(({ callDigest }) => (callDigest === null ? null : `\\x${callDigest}`))),
      plainArray(rows.map(({ chargeNano }) => chargeNano)),
      plainArray(rows.map(({ movement }) => closes(movement))),
      plainArray(rows.map(({ movement }) => movement.provisional)),
      plainArray(rows.map(({ movement }) => movement.tenantSeq)),
      plainArray(rows.map(({ tokens }) => tokens)),
      plainArray(rows.map(({ requests }) => requests)),
      // The clock that stamped the holds: a capture belongs to a call's latest hold, not to one before it.
      at,
    ],
  );
}

interface CaptureSum extends CaptureRow {
  readonly chargeNano: Nano;
  readonly tokens: bigint;
  readonly requests: number;
}

/** One row for each event and sign: an event may be booked, taken back and booked again in one batch. */
function addUp(captures: readonly CaptureRow[]): CaptureSum[] {
  const sums = new Map<string, CaptureSum>();
  for (const capture of captures) {
    const { movement } = capture;
    const key = JSON.stringify([movement.tenantId, movement.eventId, movement.sign]);
    const before = sums.get(key);
    sums.set(key, {
      ...capture,
      chargeNano: movement.chargeNano + (before?.chargeNano ?? 0n),
      tokens: tokensOf(movement.usage) + (before?.tokens ?? 0n),
      requests: (isRequest(movement) ? 1 : 0) + (before?.requests ?? 0),
    });
  }
  return [...sums.values()];
}

/** A late event settles a hold that had run out; its money was freed or charged by policy before. */
async function settleUnresolved(tx: Sql, rows: readonly CaptureRow[]): Promise<void> {
  const closing = rows.filter(({ movement }) => closes(movement));
  if (closing.length === 0) return;
  await tx.execute(
    {
      name: 'quota.settle-unresolved',
      text: `UPDATE quota.hold h SET state = 'settled', resolution = 'late_event',
               captured_nano = greatest(0, (SELECT sum(c.sign * c.charge_nano) FROM quota.capture c WHERE ${BELONGS_TO_HOLD}))
             FROM unnest($1::text[], $2::uuid[], $3::bytea[]) AS n (tenant_id, hold_id, call_digest)
             WHERE h.tenant_id = n.tenant_id AND h.state = 'unresolved' AND (h.hold_id = n.hold_id OR (n.hold_id IS NULL AND h.call_digest = n.call_digest))`,
    },
    [
      textArray(closing.map(({ movement }) => movement.tenantId)),
      plainArray(closing.map(({ movement }) => movement.holdId)),
      textArray(closing.map(({ callDigest }) => (callDigest === null ? null : `\\x${callDigest}`))),
    ],
  );
}

/** The charge of an unresolved hold's policy is booked: nobody has to make it again. */
async function markCharged(tx: Sql, rows: readonly CaptureRow[]): Promise<void> {
  const charges = rows.filter(({ movement }) => movement.provisional && movement.sign === 1 && movement.holdId !== null);
  if (charges.length === 0) return;
  await tx.execute(
    {
      name: 'quota.mark-charged',
      text: `UPDATE quota.hold h SET resolution = 'charged',
               captured_nano = greatest(0, (SELECT sum(c.sign * c.charge_nano) FROM quota.capture c WHERE ${BELONGS_TO_HOLD}))
             FROM unnest($1::text[], $2::uuid[]) AS n (tenant_id, hold_id)
             WHERE h.tenant_id = n.tenant_id AND h.hold_id = n.hold_id AND h.state = 'unresolved'`,
    },
    [textArray(charges.map(({ movement }) => movement.tenantId)), plainArray(charges.map(({ movement }) => movement.holdId))],
  );
}

async function learnOutputs(tx: Sql, movements: readonly SpendMovement[]): Promise<void> {
  const calls = new Map<string, { tenantId: string; feature: string; model: string; bucket: number; calls: number }>();
  for (const movement of movements) {
    const tokens = movement.usage?.output_tokens ?? 0;
    if (movement.sign !== 1 || movement.status !== 'success' || movement.provisional || tokens === 0) continue;
    const model = movement.requestedModel ?? movement.model;
    const bucket = bucketOfTokens(tokens);
    const key = JSON.stringify([movement.tenantId, movement.feature, model, bucket]);
    const seen = calls.get(key) ?? { tenantId: movement.tenantId, feature: movement.feature ?? '', model, bucket, calls: 0 };
    calls.set(key, { ...seen, calls: seen.calls + 1 });
  }
  const rows = [...calls.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  if (rows.length === 0) return;
  await tx.execute(
    {
      name: 'quota.learn-outputs',
      text: `INSERT INTO quota.output_size AS o (tenant_id, feature, model, bucket, calls)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::bigint[])
             ON CONFLICT (tenant_id, feature, model, bucket) DO UPDATE SET calls = o.calls + excluded.calls`,
    },
    [
      textArray(rows.map((row) => row.tenantId)),
      textArray(rows.map((row) => row.feature)),
      textArray(rows.map((row) => row.model)),
      plainArray(rows.map((row) => row.bucket)),
      plainArray(rows.map((row) => row.calls)),
    ],
  );
}

/** One row per tenant: what left its holds and what its counters gained, to be applied in one step. */
async function tellStore(tx: Sql, captures: readonly CaptureRow[], additions: readonly Addition[], seqs: ReadonlyMap<string, bigint>): Promise<void> {
  const byTenant = new Map(
    [...seqs].map(([tenantId, seq]) => [tenantId, { seq: String(seq), captures: [] as CapturePayload[], counters: [] as CounterPayload[] }]),
  );
  for (const { movement, callDigest } of captures) {
    const sign = BigInt(movement.sign);
    byTenant.get(movement.tenantId)?.captures.push({
      hold_id: movement.holdId,
      call_digest: callDigest,
      signed_nano: String(sign * movement.chargeNano),
      signed_tokens: String(sign * tokensOf(movement.usage)),
      signed_requests: isRequest(movement) ? movement.sign : 0,
      closes: closes(movement),
      provisional: movement.provisional,
    });
  }
  for (const addition of additions) byTenant.get(addition.tenantId)?.counters.push(...deltasOf(addition).map(toCounterPayload));
  await appendOutbox(
    tx,
    [...byTenant].map(([tenantId, payload]) => ({ tenantId, tenantSeq: null, topic: BOOKED_TOPIC, payload })),
  );
}

function closes(movement: SpendMovement): boolean {
  return movement.sign === 1 && endsItsHold(movement);
}
