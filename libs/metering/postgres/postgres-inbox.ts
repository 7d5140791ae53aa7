/**
 * One transaction for a micro-batch of many requests: claim the event ids, claim the calls, write the events, queue them for posting.
 * Nearly every report is heard of for the first time. So a batch whose ids and calls differ from each other is written as if all of it
 * were new, in one message; the primary keys of event_key and call refuse it whole when something was known, and it goes the careful way:
 * rows are claimed in digest order, so that two batches never wait for each other in a circle, and a claim that loses the race waits for
 * the winner's commit and then sees it. Either way two deliveries of one event can never both be new.
 */
import { InvariantError } from '#libs/kernel/index.js';
import { byteaArray, plainArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import { copyBytes, type CopyTable } from '#libs/platform/postgres/copy-in.js';
import { sqlState, type Database, type Sql } from '#libs/platform/postgres/database.js';
import type { ConflictObserver, EventConflict } from '../application/ports.js';
import { EventInbox, refusedResult, type InboxEntry, type InboxResult, type ReportEntry } from '../application/inbox.js';
import { InboxBatch, toCandidate, type CallKey, type Candidate, type KnownCall } from '../domain/inbox-batch.js';
import type { KnownReport, Resolution } from '../domain/resolve-report.js';
import type { AdmittedReport, DeadLetterDraft } from '../domain/stored-event.js';
import type { CommittedEvent, RecentEvents } from '../memory/recent-events.js';
import { insertDeadLetters } from './dead-letter-rows.js';
import { eventTables } from './event-rows.js';

/** Something was known (unique violation), or two batches waited for each other (deadlock): the careful way finds out. */
const NOT_NEW = new Set(['23505', '40P01']);
/** Whoever resends once resends more: so many batches go the careful way before newness is assumed again. */
const CAREFUL_BATCHES = 16;

export class PostgresInbox extends EventInbox {
  private carefulBatches = 0;

  constructor(
    private readonly database: Database,
    private readonly recent: RecentEvents,
    private readonly conflicts: ConflictObserver,
  ) {
    super();
  }

  override async write(entries: readonly InboxEntry[]): Promise<InboxResult[]> {
    const reports = entries.filter((entry) => entry.kind === 'report');
    const candidates = reports.map((entry) => toCandidate(entry.admitted));
    if (this.carefulBatches > 0) this.carefulBatches -= 1;
    else if (reports.length === entries.length && areDistinct(candidates) && (await this.writeAsNew(candidates))) {
      return candidates.map(({ admitted }) => toResult(admitted, { outcome: 'accepted' }));
    }
    return await this.writeCarefully(entries, reports, candidates);
  }

  /** False: nothing was written, something of it was known. */
  private async writeAsNew(candidates: readonly Candidate[]): Promise<boolean> {
    const accepted = candidates.map(({ admitted }): CommittedEvent => ({ admitted, correctsEventId: null }));
    try {
      await this.database.copy([...claimTables(candidates), ...eventTables(accepted)]);
      this.recent.keep(accepted);
      return true;
    } catch (error) {
      // A deadlock comes as storage that is not available, with its cause.
      if (!NOT_NEW.has(sqlState(error)) && !NOT_NEW.has(sqlState((error as Error).cause))) throw error;
      this.carefulBatches = CAREFUL_BATCHES;
      return false;
    }
  }

  private async writeCarefully(entries: readonly InboxEntry[], reports: readonly ReportEntry[], candidates: readonly Candidate[]): Promise<InboxResult[]> {
    let accepted: CommittedEvent[] = [];
    const results = await this.database.transaction(async (tx) => {
      const batch = new InboxBatch(candidates, await claimKeys(tx, candidates));
      const rivalCalls = await claimCalls(tx, batch.contenders());
      const resolutions = batch.resolve(rivalCalls, await tenantsOfImprovable(tx, [...batch.keys.values(), ...rivalCalls.values()], candidates));

      accepted = [];
      const deadLetters: DeadLetterDraft[] = [];
      const conflicts: EventConflict[] = [];
      reports.forEach((entry, index) => {
        const resolution = resolutions[index];
        if (resolution?.outcome === 'accepted') accepted.push({ admitted: entry.admitted, correctsEventId: null });
        if (resolution?.outcome === 'corrected') accepted.push({ admitted: entry.admitted, correctsEventId: resolution.correctsEventId });
        const kept = resolution?.outcome === 'conflict' ? entry.asDeadLetter() : null;
        if (kept && resolution?.outcome === 'conflict') {
          deadLetters.push({ ...kept, keptEventId: resolution.keptEventId });
          conflicts.push(conflictOf(entry.admitted, kept, resolution.keptEventId));
        }
      });
      for (const entry of entries) if (entry.kind === 'refused') deadLetters.push(entry.deadLetter);

      if (accepted.length > 0) await tx.copy(eventTables(accepted));
      await moveKeys(tx, batch);
      await moveCalls(tx, batch);
      await insertDeadLetters(tx, deadLetters);
      // Last: a batch that waits for another's alert holds nothing that the other still wants.
      if (conflicts.length > 0) await this.conflicts.onConflicts(tx, conflicts);
      let next = 0;
      return entries.map((entry): InboxResult => {
        if (entry.kind === 'refused') return refusedResult(entry);
        const resolution = resolutions[next];
        next += 1;
        if (!resolution) throw new InvariantError('every report has a resolution');
        return toResult(entry.admitted, resolution);
      });
    });
    this.recent.keep(accepted);
    return results;
  }
}

function conflictOf(admitted: AdmittedReport, kept: DeadLetterDraft, keptEventId: string): EventConflict {
  const { tenantId, sourceId, receivedAt } = admitted;
  return { tenantId, sourceId, keptEventId, deadLetterId: kept.deadLetterId, receivedAt };
}

function toResult(admitted: AdmittedReport, resolution: Resolution): InboxResult {
  switch (resolution.outcome) {
    case 'accepted':
      return { outcome: 'accepted', eventId: admitted.eventId, tenantId: admitted.tenantId };
    case 'corrected':
      return {
        outcome: 'corrected',
        eventId: admitted.eventId,
        tenantId: admitted.tenantId,
        code: 'event.corrected',
        detail: 'better usage for a call that was reported before',
      };
    case 'duplicate':
      return {
        outcome: 'duplicate',
        eventId: resolution.keptEventId,
        tenantId: admitted.tenantId,
        code: resolution.code,
        detail: resolution.code === 'event.duplicate' ? 'already recorded' : 'better usage is already recorded',
      };
    case 'conflict':
      return {
        outcome: 'conflict',
        eventId: resolution.keptEventId,
        tenantId: admitted.tenantId,
        code: 'event.conflict',
        detail: 'already recorded with other figures; the first stays, this one is kept as a dead letter',
      };
  }
}

/** Whether no two reports share an event id or the name of a call. */
function areDistinct(candidates: readonly Candidate[]): boolean {
  const names = new Set<string>();
  let claims = 0;
  for (const { key, callKeys } of candidates) {
    names.add(key);
    for (const { name } of callKeys) names.add(name);
    claims += 1 + callKeys.length;
  }
  return names.size === claims;
}

/** The claims of reports that are all new. */
function claimTables(candidates: readonly Candidate[]): CopyTable[] {
  let keys = '';
  for (const { key, keyHash, quality, admitted } of candidates.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
    keys += `${copyBytes(key)}\t${copyBytes(keyHash)}\t${admitted.eventId}\t${quality}\t${admitted.receivedAt.toISOString()}\n`;
  }
  let calls = '';
  for (const { name, discriminator, candidate } of callClaims(candidates)) {
    calls += `${copyBytes(name)}\t${copyBytes(candidate.figures)}\t${copyBytes(discriminator)}\t${candidate.admitted.eventId}\t${candidate.quality}\n`;
  }
  return [
    { table: 'metering.event_key', columns: ['digest', 'content_hash', 'event_id', 'quality', 'received_at'], rows: keys },
    ...(calls === '' ? [] : [{ table: 'metering.call', columns: ['digest', 'figures_hash', 'discriminator', 'event_id', 'quality'], rows: calls }]),
  ];
}

function callClaims(candidates: readonly Candidate[]): (CallKey & { readonly candidate: Candidate })[] {
  return firstByName(candidates.flatMap((candidate) => candidate.callKeys.map(({ name, discriminator }) => ({ name, discriminator, candidate }))));
}

/** Inserts the event ids nobody claimed before; answers what is known of the others, by hex digest. */
async function claimKeys(tx: Sql, candidates: readonly Candidate[]): Promise<Map<string, KnownReport>> {
  const claims = firstByName(candidates.map((candidate) => ({ name: candidate.key, candidate })));
  if (claims.length === 0) return new Map();
  const claimed = await tx.execute(
    {
      name: 'metering.claim-keys',
      text: `INSERT INTO metering.event_key (digest, content_hash, event_id, quality, received_at)
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::uuid[], $4::smallint[], $5::timestamptz[])
             ON CONFLICT (digest) DO NOTHING`,
    },
    [
      byteaArray(claims.map(({ name }) => name)),
      byteaArray(claims.map(({ candidate }) => candidate.keyHash)),
      plainArray(claims.map(({ candidate }) => candidate.admitted.eventId)),
      plainArray(claims.map(({ candidate }) => candidate.quality)),
      timeArray(claims.map(({ candidate }) => candidate.admitted.receivedAt)),
    ],
  );
  if (claimed === claims.length) return new Map();
  const rows = await tx.query<{ digest: Buffer; content_hash: Buffer; event_id: string; quality: number }>(
    {
      name: 'metering.rival-keys',
      text: 'SELECT digest, content_hash, event_id, quality FROM metering.event_key WHERE digest = ANY($1::bytea[]) ORDER BY digest FOR UPDATE',
    },
    [byteaArray(claims.map(({ name }) => name))],
  );
  return rivalsOf(claims, rows, (row) => ({ eventId: row.event_id, quality: row.quality, hash: row.content_hash.toString('hex') }));
}

async function claimCalls(tx: Sql, candidates: readonly Candidate[]): Promise<Map<string, KnownCall>> {
  const claims = callClaims(candidates);
  if (claims.length === 0) return new Map();
  const claimed = await tx.execute(
    {
      name: 'metering.claim-calls',
      text: `INSERT INTO metering.call (digest, figures_hash, discriminator, event_id, quality)
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::uuid[], $5::smallint[])
             ON CONFLICT (digest) DO NOTHING`,
    },
    [
      byteaArray(claims.map(({ name }) => name)),
      byteaArray(claims.map(({ candidate }) => candidate.figures)),
      byteaArray(claims.map(({ discriminator }) => discriminator)),
      plainArray(claims.map(({ candidate }) => candidate.admitted.eventId)),
      plainArray(claims.map(({ candidate }) => candidate.quality)),
    ],
  );
  if (claimed === claims.length) return new Map();
  const rows = await tx.query<{ digest: Buffer; figures_hash: Buffer; discriminator: Buffer | null; event_id: string; quality: number }>(
    {
      name: 'metering.rival-calls',
      text: 'SELECT digest, figures_hash, discriminator, event_id, quality FROM metering.call WHERE digest = ANY($1::bytea[]) ORDER BY digest FOR UPDATE',
    },
    [byteaArray(claims.map(({ name }) => name))],
  );
  return rivalsOf(claims, rows, (row) => ({
    eventId: row.event_id,
    quality: row.quality,
    hash: row.figures_hash.toString('hex'),
    discriminator: row.discriminator?.toString('hex') ?? null,
  }));
}

/** The rows that were there before: ours carry the id of the event that just claimed them. */
function rivalsOf<Row extends { digest: Buffer; event_id: string }, Known>(
  claims: readonly { readonly name: string; readonly candidate: Candidate }[],
  rows: readonly Row[],
  known: (row: Row) => Known,
): Map<string, Known> {
  const ours = new Map(claims.map(({ name, candidate }) => [name, candidate.admitted.eventId]));
  const rivals = new Map<string, Known>();
  for (const row of rows) {
    const name = row.digest.toString('hex');
    if (ours.get(name) !== row.event_id) rivals.set(name, known(row));
  }
  return rivals;
}

/** Tenants of the stored events that a report of this batch could correct. */
async function tenantsOfImprovable(tx: Sql, known: readonly KnownReport[], candidates: readonly Candidate[]): Promise<Map<string, string>> {
  const bestQuality = Math.max(0, ...candidates.map((candidate) => candidate.quality));
  const eventIds = [...new Set(known.filter((report) => report.quality < bestQuality).map((report) => report.eventId))];
  if (eventIds.length === 0) return new Map();
  const rows = await tx.query<{ event_id: string; tenant_id: string }>(
    { name: 'metering.tenants-of-events', text: 'SELECT event_id, tenant_id FROM metering.event WHERE event_id = ANY($1::uuid[])' },
    [plainArray(eventIds)],
  );
  return new Map(rows.map((row) => [row.event_id, row.tenant_id]));
}

async function moveKeys(tx: Sql, batch: InboxBatch): Promise<void> {
  const moved = [...batch.movedKeys].sort().flatMap((name) => withName(name, batch.keys.get(name)));
  if (moved.length === 0) return;
  await tx.execute(
    `UPDATE metering.event_key k SET content_hash = m.content_hash, event_id = m.event_id, quality = m.quality
     FROM unnest($1::bytea[], $2::bytea[], $3::uuid[], $4::smallint[]) AS m (digest, content_hash, event_id, quality) WHERE k.digest = m.digest`,
    [
      byteaArray(moved.map((row) => row.name)),
      byteaArray(moved.map((row) => row.hash)),
      plainArray(moved.map((row) => row.eventId)),
      plainArray(moved.map((row) => row.quality)),
    ],
  );
}

async function moveCalls(tx: Sql, batch: InboxBatch): Promise<void> {
  if (batch.droppedCalls.size > 0) {
    await tx.execute('DELETE FROM metering.call WHERE digest = ANY($1::bytea[])', [byteaArray([...batch.droppedCalls])]);
  }
  const moved = [...batch.movedCalls].sort().flatMap((name) => withName(name, batch.calls.get(name)));
  if (moved.length === 0) return;
  await tx.execute(
    `UPDATE metering.call c SET figures_hash = m.figures_hash, discriminator = m.discriminator, event_id = m.event_id, quality = m.quality
     FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::uuid[], $5::smallint[]) AS m (digest, figures_hash, discriminator, event_id, quality) WHERE c.digest = m.digest`,
    [
      byteaArray(moved.map((row) => row.name)),
      byteaArray(moved.map((row) => row.hash)),
      byteaArray(moved.map((row) => row.discriminator)),
      plainArray(moved.map((row) => row.eventId)),
      plainArray(moved.map((row) => row.quality)),
    ],
  );
}

function withName<T extends KnownReport>(name: string, known: T | undefined): (T & { name: string })[] {
  return known ? [{ ...known, name }] : [];
}

/** The first claim of each name, in the order of the names: the order in which every batch locks. */
function firstByName<T extends { readonly name: string }>(claims: readonly T[]): T[] {
  const first = new Map<string, T>();
  for (const claim of claims) if (!first.has(claim.name)) first.set(claim.name, claim);
  return [...first.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
