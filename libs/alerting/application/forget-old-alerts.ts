import { DAY_MS, type Clock } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { AlertStore } from './ports.js';

/** Longer than any period a crossing can belong to: forgetting an alert forgets that it was raised. */
const KEPT_MS = 400 * DAY_MS;

/** Removes alerts and their deliveries after 400 days. */
export class ForgetOldAlerts {
  constructor(
    private readonly database: Database,
    private readonly alerts: AlertStore,
    private readonly clock: Clock,
  ) {}

  /** Returns how many. */
  async execute(): Promise<number> {
    return await this.alerts.forget(this.database, new Date(this.clock.now().getTime() - KEPT_MS));
  }
}
