/**
 * Keeps `last_used_at` without a write per request: uses are noted in memory and written at most once a minute, in one statement.
 * A crash loses at most that minute of a column that only tells a person which keys are still in use.
 */
import { MINUTE_MS } from '../../kernel/index.js';
import type { Database } from '../../platform/postgres/database.js';
import type { ServiceKey } from '../domain/service-key.js';
import type { ServiceKeyRepository } from './ports.js';

export const KEY_USE_INTERVAL_MS = MINUTE_MS;

export class RecordKeyUse {
  private uses = new Map<string, Date>();

  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
  ) {}

  /** Notes a use; nothing is written yet. */
  note(key: Pick<ServiceKey, 'keyId'>, at: Date): void {
    this.uses.set(key.keyId, at);
  }

  /** Writes what was noted. Uses are dropped when the database is away: the next ones will tell the same. */
  async execute(): Promise<void> {
    if (this.uses.size === 0) return;
    const uses = this.uses;
    this.uses = new Map();
    await this.keys.markUsed(this.database, uses);
  }
}
