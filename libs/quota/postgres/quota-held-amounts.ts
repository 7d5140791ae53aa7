/**
 * What a hold can still stand in for when the event of its call has no price. A hold whose row is not written yet is known to the journal,
 * which is asked first: what it does not know any more has been committed, so the rows, read afterwards, have it. A hold that is neither
 * here nor there does not exist for the tenant.
 */
import type { Nano } from '#libs/kernel/index.js';
import { HeldAmounts, type UnpricedCall } from '#libs/metering/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { HoldJournal } from '../application/hold-journal.js';
import { callDigestOf } from '../application/quota-service.js';
import type { Hold } from '../domain/hold.js';
import { BELONGS_TO_HOLD } from './hold-rows.js';

interface AskedCall {
  readonly call: UnpricedCall;
  readonly callDigest: string | null;
  /** From the journal. */
  readonly hold: Hold | null;
}

interface LeftRow {
  readonly event_id: string;
  readonly hold_id: string;
  readonly left_nano: Nano;
}

// By call alone only holds that are still open are looked for: ended ones have no index by call, and posting must not cost what history
// is long. A call that was settled by another report names its hold, or waits in quarantine.
const LEFT = {
  name: 'quota.left-for-unpriced',
  text: `SELECT n.event_id, h.hold_id, (h.amount_nano - greatest(0, coalesce(booked.nano, 0)))::bigint AS left_nano
         FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bytea[], $5::uuid[], $6::uuid[], $7::bigint[], $8::bytea[], $9::float8[])
           AS n (event_id, tenant_id, hold_id, call_digest, corrects, known_hold, known_amount, known_digest, known_created_ms)
         CROSS JOIN LATERAL (
           SELECT n.known_hold AS hold_id, n.tenant_id, n.known_amount AS amount_nano, n.known_digest AS call_digest,
                  to_timestamp(n.known_created_ms / 1000.0) AS created_at WHERE n.known_hold IS NOT NULL
           UNION ALL
           SELECT r.hold_id, r.tenant_id, r.amount_nano, r.call_digest, r.created_at FROM quota.hold r
           WHERE n.known_hold IS NULL AND n.hold_id IS NOT NULL AND r.hold_id = n.hold_id AND r.tenant_id = n.tenant_id AND r.kind = 'call'
           UNION ALL
           SELECT r.hold_id, r.tenant_id, r.amount_nano, r.call_digest, r.created_at FROM quota.hold r
           WHERE n.known_hold IS NULL AND n.hold_id IS NULL AND r.tenant_id = n.tenant_id AND r.call_digest = n.call_digest AND r.state = 'active'
           UNION ALL
           SELECT r.hold_id, r.tenant_id, r.amount_nano, r.call_digest, r.created_at FROM quota.hold r
           WHERE n.known_hold IS NULL AND n.hold_id IS NULL AND r.tenant_id = n.tenant_id AND r.call_digest = n.call_digest AND r.state = 'unresolved'
         ) h
         CROSS JOIN LATERAL (
           SELECT sum(c.sign * c.charge_nano) AS nano FROM quota.capture c
           WHERE ${BELONGS_TO_HOLD} AND c.event_id <> n.event_id AND c.event_id IS DISTINCT FROM n.corrects) booked
         ORDER BY n.event_id, h.created_at DESC`,
};

export class QuotaHeldAmounts extends HeldAmounts {
  constructor(private readonly journal: HoldJournal) {
    super();
  }

  /** @throws DomainError storage.unavailable */
  override async leftFor(tx: Sql, calls: readonly UnpricedCall[]): Promise<ReadonlyMap<string, Nano>> {
    const asked = calls.map((call) => this.lookUp(call));
    const bytes = (hex: string | null | undefined): string | null => (hex === null || hex === undefined ? null : `\\x${hex}`);
    const rows = await tx.query<LeftRow>(LEFT, [
      plainArray(asked.map(({ call }) => call.eventId)),
      textArray(asked.map(({ call }) => call.tenantId)),
      plainArray(asked.map(({ call }) => call.holdId)),
      textArray(asked.map(({ callDigest }) => bytes(callDigest))),
      plainArray(asked.map(({ call }) => call.correctsEventId)),
      plainArray(asked.map(({ hold }) => hold?.holdId ?? null)),
      plainArray(asked.map(({ hold }) => hold?.amountNano ?? null)),
      textArray(asked.map(({ hold }) => bytes(hold?.callDigest))),
      plainArray(asked.map(({ hold }) => hold?.createdAtMs ?? null)),
    ]);
    const first = new Map<string, LeftRow>();
    for (const row of rows) if (!first.has(row.event_id)) first.set(row.event_id, row);
    return shareOut(calls, first);
  }

  private lookUp(call: UnpricedCall): AskedCall {
    const callDigest = call.callId === null ? null : callDigestOf(call.tenantId, call.callId);
    const named = call.holdId === null ? null : this.journal.find(call.holdId);
    const hold = call.holdId === null && callDigest !== null ? this.journal.findByCall(call.tenantId, callDigest) : named;
    return { call, callDigest, hold: hold !== null && hold.tenantId === call.tenantId && hold.kind === 'call' ? hold : null };
  }
}

/** Calls of one hold come after each other: what one of them took is not there for the next. */
function shareOut(calls: readonly UnpricedCall[], rows: ReadonlyMap<string, LeftRow>): Map<string, Nano> {
  const taken = new Map<string, Nano>();
  const left = new Map<string, Nano>();
  for (const { eventId } of calls) {
    const row = rows.get(eventId);
    if (!row) continue;
    const takenNano = taken.get(row.hold_id) ?? 0n;
    const leftNano = row.left_nano - takenNano;
    if (leftNano <= 0n) continue;
    left.set(eventId, leftNano);
    taken.set(row.hold_id, takenNano + leftNano);
  }
  return left;
}
