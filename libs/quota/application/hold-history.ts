import type { Sql } from '#libs/platform/postgres/database.js';
import type { Hold } from '../domain/hold.js';

/** What a tenant asked for in the past, as far as it left a trace. */
export abstract class HoldHistory {
  /** Holds asked for since `fromMs` and after the hold `after`, in the order in which they were, without fences and without those nobody was promised. */
  abstract page(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number; after: string | null; limit: number }): Promise<readonly Hold[]>;
  /** Holds of [fromMs, toMs) whose answer named another model than the one that was asked for. */
  abstract downgraded(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number }): Promise<ReadonlySet<string>>;
  /** How many questions of [fromMs, toMs) were refused: nobody knows what those calls would have cost. */
  abstract refused(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number }): Promise<number>;
}
