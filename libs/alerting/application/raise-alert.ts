/**
 * The door for whoever sees something happen. Guarantees: the same crossing (kind, tenant, dedupKey) becomes one alert, however often and
 * from however many processes it is raised; raised in a caller's transaction it exists exactly if that commits. It is one statement:
 * who gets it is decided afterwards by the worker (RouteAlerts), so a transaction that books money never waits for a lookup of channels.
 */
import type { Clock } from '#libs/kernel/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { NewAlert } from '../domain/alert.js';
import type { AlertStore } from './ports.js';

export class RaiseAlert {
  constructor(
    private readonly database: Database,
    private readonly alerts: AlertStore,
    private readonly clock: Clock,
  ) {}

  /**
   * @param input.tx the transaction that makes it true; without it the alerts are committed by themselves
   * @returns how many were new @throws DomainError storage.unavailable
   */
  async execute(input: { readonly alerts: readonly NewAlert[]; readonly tx?: Sql }): Promise<{ raised: number }> {
    if (input.alerts.length === 0) return { raised: 0 };
    return { raised: await this.alerts.raise(input.tx ?? this.database, input.alerts, this.clock.now()) };
  }
}
