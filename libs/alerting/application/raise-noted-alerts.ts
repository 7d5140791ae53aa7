import { OutboxRelay, type Relayed } from '#libs/platform/outbox/relay-outbox.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { fromNotedRow, NOTED_ALERTS_TOPIC } from './noted-alert.js';
import type { RaiseAlert } from './raise-alert.js';

/**
 * Raises what was noted in committed transactions, at least once: an alert's key makes twice nothing. One that cannot be raised stays noted,
 * is tried again every round and keeps none behind it waiting.
 */
export class RaiseNotedAlerts {
  private readonly relay: OutboxRelay;

  constructor(database: Database, raiseAlert: RaiseAlert, onFailure: (error: unknown, failed: number) => void) {
    this.relay = new OutboxRelay(database, NOTED_ALERTS_TOPIC, async (rows) => void (await raiseAlert.execute({ alerts: rows.map(fromNotedRow) })), onFailure);
  }

  get failures(): number {
    return this.relay.failures;
  }

  /** One round. @throws DomainError storage.unavailable */
  async execute(): Promise<Relayed> {
    return await this.relay.run();
  }
}
