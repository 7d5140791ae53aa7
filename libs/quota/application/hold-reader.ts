import type { Nano } from '#libs/kernel/index.js';
import type { Hold, HoldState } from '../domain/hold.js';

export interface HoldFilter {
  readonly tenantId: string | undefined;
  readonly state: HoldState | undefined;
  readonly limit: number;
  /** Id of the last row of the page before. */
  readonly before: string | null;
}

/** Holds as PostgreSQL has them, a tenth of a second behind the store for fast ones. */
export abstract class HoldReader {
  /** Newest first, without fences. */
  abstract list(filter: HoldFilter): Promise<Hold[]>;
  abstract find(holdId: string): Promise<Hold | null>;
  /** Whether the tenant ever asked for a hold. */
  abstract hasHeld(tenantId: string): Promise<boolean>;
  /** What open holds keep, by their rows. */
  abstract heldNano(tenantId: string): Promise<Nano>;
  /** What was promised to calls that ran out since then and of which nobody has said how they ended. */
  abstract unresolvedNano(tenantId: string, since: Date): Promise<Nano>;
}
