import type { Sql } from '#libs/platform/postgres/database.js';
import type { Source } from '../domain/source.js';

/** Where sources are kept; reads are cached for about a second. */
export abstract class SourceDirectory {
  abstract find(sourceId: string): Promise<Source | null>;
  abstract list(input: { limit: number; after: string | null }): Promise<Source[]>;
  /** The source as it is inside the caller's transaction. */
  abstract read(tx: Sql, sourceId: string): Promise<Source | null>;
  /** Writes the whole source; `createdAt` of an existing one stays. */
  abstract write(tx: Sql, source: Source): Promise<void>;
  /** Makes this process see its own change at once; call after the commit. */
  abstract forget(sourceId: string): void;
}
