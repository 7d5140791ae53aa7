/**
 * The door for whoever sees something happen outside a transaction that books money (inside one: NoteAlerts). Guarantees: the same happening
 * (kind, tenant, dedupKey) becomes one alert, however often and from however many processes it is raised. It is one statement: who gets it
 * is decided afterwards by the worker (RouteAlerts).
 */
import type { Clock } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { NewAlert } from '../domain/alert.js';
import type { AlertStore } from './ports.js';

export class RaiseAlert {
  constructor(
    private readonly database: Database,
    private readonly alerts: AlertStore,
    private readonly clock: Clock,
  ) {}

  /** Committed when it returns: all of `alerts` or none. @returns how many were new @throws DomainError storage.unavailable */
  async execute(input: { readonly alerts: readonly NewAlert[] }): Promise<{ raised: number }> {
    if (input.alerts.length === 0) return { raised: 0 };
    return { raised: await this.alerts.raise(this.database, input.alerts, this.clock.now()) };
  }
}
