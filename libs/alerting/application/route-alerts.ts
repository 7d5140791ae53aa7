import type { Clock } from '#libs/kernel/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import { channelsFor } from '../domain/routing.js';
import type { AlertStore, ChannelStore, DeliveryStore } from './ports.js';

const BATCH = 200;

/**
 * Makes a delivery of each alert for each channel it goes to, once: alerts are locked while they are routed, and several workers take
 * different ones. An alert that fits no channel is routed too; it is in the list of alerts.
 */
export class RouteAlerts {
  constructor(
    private readonly database: Database,
    private readonly alerts: AlertStore,
    private readonly channels: ChannelStore,
    private readonly deliveries: DeliveryStore,
    private readonly tenants: TenantDirectory,
    private readonly clock: Clock,
  ) {}

  /** Returns how many alerts were routed. @throws DomainError storage.unavailable */
  async execute(): Promise<number> {
    let routed = 0;
    for (;;) {
      const batch = await this.database.transaction(async (tx) => await this.routeBatch(tx));
      routed += batch;
      if (batch < BATCH) return routed;
    }
  }

  private async routeBatch(tx: Sql): Promise<number> {
    const alerts = await this.alerts.takeUnrouted(tx, BATCH);
    if (alerts.length === 0) return 0;
    const channels = await this.channels.holdEnabled(tx);
    const tenants = await this.tenants.findMany([...new Set(alerts.flatMap((alert) => alert.tenantId ?? []))]);
    const deliveries = alerts.flatMap((alert) => {
      const owner = alert.tenantId === null ? null : tenants.get(alert.tenantId)?.owner;
      return channelsFor(alert, channels, owner?.channelIds ?? []).map((channelId) => ({ alertId: alert.alertId, channelId }));
    });
    const at = this.clock.now();
    await this.deliveries.add(tx, deliveries, at);
    await this.alerts.markRouted(
      tx,
      alerts.map((alert) => alert.alertId),
      at,
    );
    return alerts.length;
  }
}
