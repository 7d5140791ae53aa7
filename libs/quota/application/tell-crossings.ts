/**
 * Brings crossings from the posting transaction to whoever tells people, at least once and after the commit: a crossing is a fact of the
 * booking, telling it is not, so nothing that goes wrong there holds up money. A crossing that cannot be told is tried again every round.
 */
import { OutboxRelay, type Relayed } from '#libs/platform/outbox/relay-outbox.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { CROSSED_TOPIC, fromCrossedRow, type ToldCrossing } from './crossing-payload.js';

/** Who tells people; apps wire it. Hearing of the same crossing twice must change nothing. */
export abstract class CrossingListener {
  abstract onCrossings(crossings: readonly ToldCrossing[]): Promise<void>;
}

export class TellCrossings {
  private readonly relay: OutboxRelay;

  constructor(database: Database, listener: CrossingListener, onFailure: (error: unknown, failed: number) => void) {
    this.relay = new OutboxRelay(database, CROSSED_TOPIC, async (rows) => await listener.onCrossings(rows.map(fromCrossedRow)), onFailure);
  }

  get failures(): number {
    return this.relay.failures;
  }

  /** One round. @throws DomainError storage.unavailable */
  async execute(): Promise<Relayed> {
    return await this.relay.run();
  }
}
