/**
 * Quota's part in the posting transaction: where one process alone may work on the database, a stale one is refused here; what each event
 * takes from its hold, and how large answers are. Only tenants that have ever asked for a hold are written, so a tenant that is merely
 * metered costs nothing here. An event that is rated after a provisional charge keeps its place: what it took is replaced, and the hold
 * that it closed then is not looked for again, for its call id may have been given to another call since.
 */
import type { Clock, Nano } from '#libs/kernel/index.js';
import { PostingParticipant, type SpendMovement } from '#libs/metering/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { QuotaFence } from '../application/ports.js';
import { callDigestOf } from '../application/quota-service.js';
import { CAPTURED_TOPIC, type CapturePayload } from '../application/relay-balances.js';
import { bucketOfTokens } from '../domain/output-sizes.js';
import { assertEpoch, epochOf } from './epoch.js';
import { BELONGS_TO_HOLD } from './hold-rows.js';

interface CaptureRow {
  readonly movement: SpendMovement;
  readonly callDigest: string | null;
}

export class QuotaParticipant extends PostingParticipant {
  constructor(
    private readonly fence: QuotaFence,
    private readonly clock: Clock,
  ) {
    super();
  }

  /** @throws DomainError quota.stale_epoch, quota.fenced: the batch is then posted by whoever has the right to */
  override async onPosted(tx: Sql, movements: readonly SpendMovement[]): Promise<void> {
    if (this.fence.exclusive) await assertEpoch(tx, epochOf(this.fence));
    const asking = await this.tenantsWithHolds(tx, movements);
    const own = movements.filter((movement) => asking.has(movement.tenantId));
    if (own.length === 0) return;
    const rows = own
      .filter((movement) => movement.holdId !== null || movement.callId !== null)
      .map((movement): CaptureRow => ({ movement, callDigest: movement.callId === null ? null : callDigestOf(movement.tenantId, movement.callId) }));
    await insertCaptures(tx, rows, this.clock.now());
    const news = rows.filter(({ movement }) => !(movement.rerated && endsItsHold(movement)));
    await settleUnresolved(tx, news);
    await markCharged(tx, news);
    await learnOutputs(tx, own);
    await tellStore(tx, news);
  }

  private async tenantsWithHolds(tx: Sql, movements: readonly SpendMovement[]): Promise<Set<string>> {
    const tenantIds = [...new Set(movements.map((movement) => movement.tenantId))];
    if (tenantIds.length === 0) return new Set();
    const rows = await tx.query<{ tenant_id: string }>(
      { name: 'quota.tenants-with-holds', text: 'SELECT tenant_id FROM quota.reserve WHERE tenant_id = ANY($1::text[])' },
      [textArray(tenantIds)],
    );
    return new Set(rows.map((row) => row.tenant_id));
  }
}

async function insertCaptures(tx: Sql, captures: readonly CaptureRow[], at: Date): Promise<void> {
  const rows = addUp(captures);
  if (rows.length === 0) return;
  await tx.execute(
    {
      name: 'quota.insert-captures',
      text: `INSERT INTO quota.capture AS c (tenant_id, event_id, sign, hold_id, call_digest, charge_nano, closes, provisional, tenant_seq, posted_at)
             SELECT *, $10::timestamptz FROM unnest($1::text[], $2::uuid[], $3::smallint[], $4::uuid[], $5::bytea[], $6::bigint[], $7::boolean[], $8::boolean[], $9::bigint[])
             ON CONFLICT (tenant_id, event_id, sign) DO UPDATE
               SET charge_nano = c.charge_nano + excluded.charge_nano, closes = c.closes OR excluded.closes, tenant_seq = coalesce(excluded.tenant_seq, c.tenant_seq)`,
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
      // The clock that stamped the holds: a capture belongs to a call's latest hold, not to one before it.
      at,
    ],
  );
}

/** One row for each event and sign: an event may be booked, taken back and booked again in one batch. */
function addUp(captures: readonly CaptureRow[]): (CaptureRow & { readonly chargeNano: Nano })[] {
  const sums = new Map<string, CaptureRow & { readonly chargeNano: Nano }>();
  for (const capture of captures) {
    const { tenantId, eventId, sign, chargeNano } = capture.movement;
    const key = JSON.stringify([tenantId, eventId, sign]);
    sums.set(key, { ...capture, chargeNano: chargeNano + (sums.get(key)?.chargeNano ?? 0n) });
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

/** One row per tenant and money transaction: the store skips those that a load has already seen. */
async function tellStore(tx: Sql, rows: readonly CaptureRow[]): Promise<void> {
  const bySeq = new Map<string, { tenantId: string; seq: bigint | null; captures: CapturePayload[] }>();
  for (const { movement, callDigest } of rows) {
    const key = JSON.stringify([movement.tenantId, movement.tenantSeq?.toString() ?? null]);
    const group = bySeq.get(key) ?? { tenantId: movement.tenantId, seq: movement.tenantSeq, captures: [] };
    group.captures.push({
      hold_id: movement.holdId,
      call_digest: callDigest,
      signed_nano: (BigInt(movement.sign) * movement.chargeNano).toString(),
      closes: closes(movement),
      provisional: movement.provisional,
    });
    bySeq.set(key, group);
  }
  await appendOutbox(
    tx,
    [...bySeq.values()].map(({ tenantId, seq, captures }) => ({ tenantId, tenantSeq: seq, topic: CAPTURED_TOPIC, payload: { captures } })),
  );
}

/**
 * A call is over on a success or a client's abort; a failed attempt may be followed by another of the same call, and the charge of an
 * unresolved hold says nothing about its call.
 */
function closes(movement: SpendMovement): boolean {
  return movement.sign === 1 && endsItsHold(movement);
}

function endsItsHold(movement: SpendMovement): boolean {
  return !movement.provisional && movement.endsCall && (movement.status === 'success' || movement.status === 'cancelled');
}
