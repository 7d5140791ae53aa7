/**
 * PostgreSQL array literals built by concatenation. A multi-row insert passes one array per column; the driver's own serialiser
 * escapes every element through several function calls and was the largest cost of the ingest path.
 */

const NEEDS_QUOTING = /[{}",\\\s]|^$|^null$/i;

/** A text[] literal; null stays NULL. */
export function textArray(values: readonly (string | null)[]): string {
  let out = '{';
  for (let index = 0; index < values.length; index += 1) {
    if (index > 0) out += ',';
    const value = values[index];
    if (value === null || value === undefined) out += 'NULL';
    else if (NEEDS_QUOTING.test(value)) out += `"${value.replace(/["\\]/g, '\\$&')}"`;
    else out += value;
  }
  return `${out}}`;
}

/** A literal for int, bigint, boolean and uuid columns, whose texts never need quoting. */
export function plainArray(values: readonly (number | bigint | boolean | string | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

/** A bytea[] literal. */
export function byteaArray(values: readonly (Uint8Array | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"`)).join(',')}}`;
}

/** A timestamptz[] literal. */
export function timeArray(values: readonly (Date | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${value.toISOString()}"`)).join(',')}}`;
}
