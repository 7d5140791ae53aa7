/** The work list and the log in one table: what is pending and due is taken with SKIP LOCKED, and moving the due time is the lease. */
import { newUuid } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { DeliveryStore, type ClaimedDelivery, type Delivery, type DeliveryFilter, type DeliveryStatus } from '../application/ports.js';
import type { AttemptResult } from '../domain/attempt.js';
import { alertFromRow, type AlertRow } from './postgres-alert-store.js';
import { channelFromRow, type ChannelRow } from './postgres-channel-store.js';

const COLUMNS = `delivery_id, alert_id, channel_id, status, attempts, next_attempt_at, last_attempt_at, last_status, last_error, response_excerpt,
  created_at, finished_at`;

const DUE = {
  name: 'alerting.due-channels',
  text: `SELECT channel_id, count(*) AS due FROM alerting.delivery JOIN alerting.channel USING (channel_id)
          WHERE status = 'pending' AND next_attempt_at <= $1 AND enabled GROUP BY channel_id`,
};
// Input: channel, now, end of the lease. Output: the delivery with its alert and channel, or no row. Two workers never get the same one.
const CLAIM = {
  name: 'alerting.claim-delivery',
  text: `UPDATE alerting.delivery d SET attempts = d.attempts + 1, last_attempt_at = $2, next_attempt_at = $3
           FROM alerting.alert a, alerting.channel c
          WHERE d.delivery_id = (SELECT delivery_id FROM alerting.delivery
                                  WHERE channel_id = $1 AND status = 'pending' AND next_attempt_at <= $2
                                  ORDER BY next_attempt_at, delivery_id LIMIT 1 FOR UPDATE SKIP LOCKED)
            AND a.alert_id = d.alert_id AND c.channel_id = d.channel_id AND c.enabled
          RETURNING d.delivery_id, d.attempts, to_jsonb(a.*) - 'dedup' AS alert, a.occurred_at, a.raised_at, to_jsonb(c.*) AS channel, c.previous_until,
                    c.created_at, c.updated_at`,
};

interface DeliveryRow {
  delivery_id: string;
  alert_id: string;
  channel_id: string;
  status: DeliveryStatus;
  attempts: number;
  next_attempt_at: Date | null;
  last_attempt_at: Date | null;
  last_status: number | null;
  last_error: string | null;
  response_excerpt: string | null;
  created_at: Date;
  finished_at: Date | null;
}

interface ClaimRow {
  delivery_id: string;
  attempts: number;
  /** Their times are JSON text in here; the columns beside them are read as times. */
  alert: Omit<AlertRow, 'occurred_at' | 'raised_at'>;
  occurred_at: Date;
  raised_at: Date;
  channel: Omit<ChannelRow, 'previous_until' | 'created_at' | 'updated_at'>;
  previous_until: Date | null;
  created_at: Date;
  updated_at: Date;
}

export class PostgresDeliveryStore extends DeliveryStore {
  override async add(tx: Sql, deliveries: readonly { readonly alertId: string; readonly channelId: string }[], at: Date): Promise<void> {
    if (deliveries.length === 0) return;
    await tx.execute(
      `INSERT INTO alerting.delivery (delivery_id, alert_id, channel_id, status, next_attempt_at, created_at)
       SELECT delivery_id, alert_id, channel_id, 'pending', $4::timestamptz, $4::timestamptz
         FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS new (delivery_id, alert_id, channel_id)
       ON CONFLICT (alert_id, channel_id) DO NOTHING`,
      [
        plainArray(deliveries.map(() => newUuid(at))),
        plainArray(deliveries.map((delivery) => delivery.alertId)),
        textArray(deliveries.map((delivery) => delivery.channelId)),
        at,
      ],
    );
  }

  override async dueChannels(sql: Sql, at: Date): Promise<{ readonly channelId: string; readonly due: number }[]> {
    const rows = await sql.query<{ channel_id: string; due: bigint }>(DUE, [at]);
    return rows.map((row) => ({ channelId: row.channel_id, due: Number(row.due) }));
  }

  override async claim(sql: Sql, channelId: string, at: Date, leaseUntil: Date): Promise<ClaimedDelivery | null> {
    const [row] = await sql.query<ClaimRow>(CLAIM, [channelId, at, leaseUntil]);
    if (row === undefined) return null;
    const { previous_until, created_at, updated_at, occurred_at, raised_at } = row;
    return {
      deliveryId: row.delivery_id,
      attempt: row.attempts,
      alert: alertFromRow({ ...row.alert, occurred_at, raised_at }),
      channel: channelFromRow({ ...row.channel, previous_until, created_at, updated_at }),
    };
  }

  override async record(sql: Sql, claimed: Pick<ClaimedDelivery, 'deliveryId' | 'attempt'>, result: AttemptResult, at: Date): Promise<void> {
    const { verdict } = result;
    const status = verdict.kind === 'retry' ? 'pending' : verdict.kind === 'delivered' ? 'delivered' : 'failed';
    await sql.execute(
      `UPDATE alerting.delivery SET status = $3, next_attempt_at = $4, finished_at = $5, last_status = $6, last_error = $7, response_excerpt = $8
        WHERE delivery_id = $1 AND attempts = $2 AND status = 'pending'`,
      [
        claimed.deliveryId,
        claimed.attempt,
        status,
        verdict.kind === 'retry' ? verdict.at : null,
        verdict.kind === 'retry' ? null : at,
        result.status,
        result.error,
        result.excerpt,
      ],
    );
  }

  override async failPending(tx: Sql, channelId: string, error: string, at: Date): Promise<void> {
    await tx.execute(
      `UPDATE alerting.delivery SET status = 'failed', next_attempt_at = NULL, finished_at = $3, last_error = $2 WHERE channel_id = $1 AND status = 'pending'`,
      [channelId, error, at],
    );
  }

  override async lock(tx: Sql, deliveryId: string): Promise<Delivery | null> {
    const [row] = await tx.query<DeliveryRow>(`SELECT ${COLUMNS} FROM alerting.delivery WHERE delivery_id = $1 FOR UPDATE`, [deliveryId]);
    return row === undefined ? null : deliveryFromRow(row);
  }

  override async restart(tx: Sql, deliveryId: string, at: Date): Promise<void> {
    await tx.execute(`UPDATE alerting.delivery SET status = 'pending', attempts = 0, next_attempt_at = $2, finished_at = NULL WHERE delivery_id = $1`, [
      deliveryId,
      at,
    ]);
  }

  override async ofAlerts(sql: Sql, alertIds: readonly string[]): Promise<Delivery[]> {
    if (alertIds.length === 0) return [];
    const rows = await sql.query<DeliveryRow>(`SELECT ${COLUMNS} FROM alerting.delivery WHERE alert_id = ANY($1::uuid[]) ORDER BY channel_id`, [
      plainArray(alertIds),
    ]);
    return rows.map(deliveryFromRow);
  }

  override async list(sql: Sql, filter: DeliveryFilter): Promise<Delivery[]> {
    const rows = await sql.query<DeliveryRow>(
      `SELECT ${COLUMNS} FROM alerting.delivery
        WHERE ($1::text IS NULL OR channel_id = $1) AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR delivery_id < $3)
        ORDER BY delivery_id DESC LIMIT $4`,
      [filter.channelId ?? null, filter.status ?? null, filter.before ?? null, filter.limit],
    );
    return rows.map(deliveryFromRow);
  }
}

function deliveryFromRow(row: DeliveryRow): Delivery {
  return {
    deliveryId: row.delivery_id,
    alertId: row.alert_id,
    channelId: row.channel_id,
    status: row.status,
    attempts: row.attempts,
    nextAttemptAt: row.next_attempt_at,
    lastAttemptAt: row.last_attempt_at,
    lastStatus: row.last_status,
    lastError: row.last_error,
    responseExcerpt: row.response_excerpt,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  };
}
