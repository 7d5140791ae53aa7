import type { Sql } from '#libs/platform/postgres/database.js';
import type { Alert, AlertKind, NewAlert } from '../domain/alert.js';
import type { AttemptResult } from '../domain/attempt.js';
import type { RecentCredit } from '../domain/balance-level.js';
import type { Channel } from '../domain/channel.js';

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** One alert on its way to one channel. */
export interface Delivery {
  readonly deliveryId: string;
  readonly alertId: string;
  readonly channelId: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  /** Null once it is delivered or failed. While an attempt runs: when another worker may take it up. */
  readonly nextAttemptAt: Date | null;
  readonly lastAttemptAt: Date | null;
  readonly lastStatus: number | null;
  readonly lastError: string | null;
  /** At most 256 characters of the endpoint's answer. */
  readonly responseExcerpt: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

/** A delivery that this process may attempt until its lease ends. */
export interface ClaimedDelivery {
  readonly deliveryId: string;
  /** This attempt's number, 1 for the first. */
  readonly attempt: number;
  readonly alert: Alert;
  readonly channel: Channel;
}

export interface AlertFilter {
  readonly tenantId?: string | undefined;
  readonly kind?: AlertKind | undefined;
  /** By the time of raising; inclusive. */
  readonly from?: Date | undefined;
  /** Exclusive. */
  readonly to?: Date | undefined;
  /** Older ones only. */
  readonly before?: string | undefined;
  readonly limit: number;
}

export interface DeliveryFilter {
  readonly channelId?: string | undefined;
  readonly status?: DeliveryStatus | undefined;
  readonly before?: string | undefined;
  readonly limit: number;
}

export abstract class AlertStore {
  /** Writes those that were never raised, in the order of their digests so that two callers never deadlock; returns how many. */
  abstract raise(sql: Sql, alerts: readonly NewAlert[], at: Date): Promise<number>;
  /** Locks the oldest alerts that go nowhere yet, past those that somebody else is routing. */
  abstract takeUnrouted(tx: Sql, limit: number): Promise<Alert[]>;
  abstract markRouted(tx: Sql, alertIds: readonly string[], at: Date): Promise<void>;
  /** Newest first. */
  abstract list(sql: Sql, filter: AlertFilter): Promise<Alert[]>;
  /** Removes alerts raised before `before` with their deliveries; returns how many. */
  abstract forget(sql: Sql, before: Date): Promise<number>;
}

export abstract class ChannelStore {
  abstract find(sql: Sql, channelId: string): Promise<Channel | null>;
  /** Reads the channel and keeps others from changing or making it until the transaction ends. */
  abstract lock(tx: Sql, channelId: string): Promise<Channel | null>;
  /** Those that are switched on; nobody changes or removes them until the transaction ends. */
  abstract holdEnabled(tx: Sql): Promise<Channel[]>;
  /** Ordered by id. */
  abstract list(sql: Sql, filter: { after?: string | undefined; limit: number }): Promise<Channel[]>;
  abstract save(tx: Sql, channel: Channel): Promise<void>;
  abstract remove(tx: Sql, channelId: string): Promise<void>;
}

export abstract class DeliveryStore {
  /** Makes the deliveries that do not exist yet, due at once. */
  abstract add(tx: Sql, deliveries: readonly { readonly alertId: string; readonly channelId: string }[], at: Date): Promise<void>;
  /** Enabled channels with something due, and how much. */
  abstract dueChannels(sql: Sql, at: Date): Promise<{ readonly channelId: string; readonly due: number }[]>;
  /** Takes the channel's longest due delivery that nobody else has taken, as its next attempt, until `leaseUntil`. */
  abstract claim(sql: Sql, channelId: string, at: Date, leaseUntil: Date): Promise<ClaimedDelivery | null>;
  /** Writes what became of an attempt, unless a later one was taken meanwhile. */
  abstract record(sql: Sql, claimed: Pick<ClaimedDelivery, 'deliveryId' | 'attempt'>, result: AttemptResult, at: Date): Promise<void>;
  /** Ends everything that waits for the channel. */
  abstract failPending(tx: Sql, channelId: string, error: string, at: Date): Promise<void>;
  /** Reads the delivery and keeps others from changing it until the transaction ends. */
  abstract lock(tx: Sql, deliveryId: string): Promise<Delivery | null>;
  /** From the beginning, due at once. */
  abstract restart(tx: Sql, deliveryId: string, at: Date): Promise<void>;
  abstract ofAlerts(sql: Sql, alertIds: readonly string[]): Promise<Delivery[]>;
  /** Newest first. */
  abstract list(sql: Sql, filter: DeliveryFilter): Promise<Delivery[]>;
}

/** What a tenant was granted lately; apps wire it to the ledger. */
export abstract class CreditHistory {
  /** Every tenant asked for is in the answer. */
  abstract recent(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, RecentCredit>>;
}
