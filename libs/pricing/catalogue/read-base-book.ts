import { readFileSync } from 'node:fs';
import type { BaseBookFile } from '../domain/base-book.js';

/** The list prices this release ships, as scripts/build-price-book.mjs wrote them; a test holds the file to the catalogue it came from. */
export function readBaseBook(): BaseBookFile {
  return JSON.parse(readFileSync(new URL('./base-book.json', import.meta.url), 'utf8')) as BaseBookFile;
}
