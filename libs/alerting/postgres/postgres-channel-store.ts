import type { Sql } from '#libs/platform/postgres/database.js';
import { ChannelStore } from '../application/ports.js';
import type { AlertKind, Severity } from '../domain/alert.js';
import type { Channel } from '../domain/channel.js';

export interface ChannelRow {
  channel_id: string;
  kind: 'webhook';
  url: string;
  kinds: AlertKind[] | null;
  tenant_id: string | null;
  min_severity: Severity;
  enabled: boolean;
  disabled_reason: string | null;
  secret: string;
  previous_secret: string | null;
  previous_until: Date | null;
  created_at: Date;
  updated_at: Date;
}

const COLUMNS =
  'channel_id, kind, url, kinds, tenant_id, min_severity, enabled, disabled_reason, secret, previous_secret, previous_until, created_at, updated_at';

export function channelFromRow(row: ChannelRow): Channel {
  return {
    channelId: row.channel_id,
    kind: row.kind,
    url: row.url,
    kinds: row.kinds,
    tenantId: row.tenant_id,
    minSeverity: row.min_severity,
    enabled: row.enabled,
    disabledReason: row.disabled_reason,
    secret: row.secret,
    previous: row.previous_secret === null || row.previous_until === null ? null : { secret: row.previous_secret, until: row.previous_until },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export class PostgresChannelStore extends ChannelStore {
  override async find(sql: Sql, channelId: string): Promise<Channel | null> {
    return firstOf(await sql.query<ChannelRow>(`SELECT ${COLUMNS} FROM alerting.channel WHERE channel_id = $1`, [channelId]));
  }

  override async lock(tx: Sql, channelId: string): Promise<Channel | null> {
    // A channel that is not there yet has no row to lock.
    await tx.execute(`SELECT pg_advisory_xact_lock(hashtextextended('alert channel ' || $1, 0))`, [channelId]);
    return firstOf(await tx.query<ChannelRow>(`SELECT ${COLUMNS} FROM alerting.channel WHERE channel_id = $1 FOR UPDATE`, [channelId]));
  }

  override async holdEnabled(tx: Sql): Promise<Channel[]> {
    return (await tx.query<ChannelRow>(`SELECT ${COLUMNS} FROM alerting.channel WHERE enabled ORDER BY channel_id FOR SHARE`)).map(channelFromRow);
  }

  override async list(sql: Sql, filter: { after?: string | undefined; limit: number }): Promise<Channel[]> {
    const rows = await sql.query<ChannelRow>(`SELECT ${COLUMNS} FROM alerting.channel WHERE $1::text IS NULL OR channel_id > $1 ORDER BY channel_id LIMIT $2`, [
      filter.after ?? null,
      filter.limit,
    ]);
    return rows.map(channelFromRow);
  }

  override async save(tx: Sql, channel: Channel): Promise<void> {
    await tx.execute(
      `INSERT INTO alerting.channel (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
       ON CONFLICT (channel_id) DO UPDATE SET kind = excluded.kind, url = excluded.url, kinds = excluded.kinds, tenant_id = excluded.tenant_id,
              min_severity = excluded.min_severity, enabled = excluded.enabled, disabled_reason = excluded.disabled_reason, secret = excluded.secret,
              previous_secret = excluded.previous_secret, previous_until = excluded.previous_until, updated_at = excluded.updated_at`,
      [
        channel.channelId,
        channel.kind,
        channel.url,
        channel.kinds,
        channel.tenantId,
        channel.minSeverity,
        channel.enabled,
        channel.disabledReason,
        channel.secret,
        channel.previous?.secret ?? null,
        channel.previous?.until ?? null,
        channel.createdAt,
        channel.updatedAt,
      ],
    );
  }

  override async remove(tx: Sql, channelId: string): Promise<void> {
    await tx.execute('DELETE FROM alerting.channel WHERE channel_id = $1', [channelId]);
  }
}

function firstOf(rows: readonly ChannelRow[]): Channel | null {
  return rows[0] === undefined ? null : channelFromRow(rows[0]);
}
