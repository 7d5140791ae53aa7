/**
 * PostgreSQL array literals built by concatenation. A multi-row insert passes one array per column; the driver's own serialiser
 * escapes every element through several function calls and was the largest cost of the ingest path.
 */

const NEEDS_QUOTING = /[{}",\\\s]|^$|^null$/i;
const NEEDS_ESCAPING = /["\\]/;

/**
 * A text[] literal; null stays NULL. Where every value is null the literal is empty: unnest fills a shorter array up with NULL, and a
 * column that nobody used costs nothing.
 */
export function textArray(values: readonly (string | null)[]): string {
  let out = '{';
  let used = false;
  for (let index = 0; index < values.length; index += 1) {
    if (index > 0) out += ',';
    const value = values[index];
    if (value === null || value === undefined) {
      out += 'NULL';
      continue;
    }
    used = true;
    if (!NEEDS_QUOTING.test(value)) out += value;
    else out += NEEDS_ESCAPING.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : `"${value}"`;
  }
  return used ? `${out}}` : '{}';
}

/** A literal for int, bigint, boolean and uuid columns, whose texts never need quoting. */
export function plainArray(values: readonly (number | bigint | boolean | string | null)[]): string {
  return values.every((value) => value === null) ? '{}' : `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

/** A bytea[] literal from hexadecimal digits. */
export function byteaArray(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"\\\\x${value}"`)).join(',')}}`;
}

/** A timestamptz[] literal. */
export function timeArray(values: readonly (Date | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${value.toISOString()}"`)).join(',')}}`;
}
