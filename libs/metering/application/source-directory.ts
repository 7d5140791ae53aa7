import type { Source } from '../domain/source.js';

/** Where sources are kept; reads are cached for about a second. */
export abstract class SourceDirectory {
  abstract find(sourceId: string): Promise<Source | null>;
  abstract list(input: { limit: number; after: string | null }): Promise<Source[]>;
}
