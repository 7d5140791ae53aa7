import type { Database } from '#libs/platform/postgres/database.js';
import type { Alert } from '../domain/alert.js';
import type { AlertFilter, AlertStore, Delivery, DeliveryStore } from './ports.js';

export interface AlertView {
  readonly alert: Alert;
  readonly deliveries: readonly Delivery[];
}

/** Alerts with what became of them, newest first; one more than `limit` where there are more. */
export class ListAlerts {
  constructor(
    private readonly database: Database,
    private readonly alerts: AlertStore,
    private readonly deliveries: DeliveryStore,
  ) {}

  async execute(filter: AlertFilter): Promise<AlertView[]> {
    const alerts = await this.alerts.list(this.database, { ...filter, limit: filter.limit + 1 });
    const deliveries = await this.deliveries.ofAlerts(
      this.database,
      alerts.map((alert) => alert.alertId),
    );
    return alerts.map((alert) => ({ alert, deliveries: deliveries.filter((delivery) => delivery.alertId === alert.alertId) }));
  }
}
