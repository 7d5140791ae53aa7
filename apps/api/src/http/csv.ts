/**
 * RFC 4180 text that is safe to open in a spreadsheet: a cell that a spreadsheet would run as a formula is preceded by an apostrophe.
 * Plain numbers keep their sign, so that finance can add them up.
 */
import { Readable } from 'node:stream';
import { StreamableFile } from '@nestjs/common';

export type CsvCell = string | number | bigint | boolean | null | undefined;

const FORMULA_START = /^\s*[=+\-@\p{Cc}\uff0b\uff0d\uff1d\uff20]/u;
const PLAIN_NUMBER = /^-?\d+(?:\.\d+)?$/;
const NEEDS_QUOTES = /[",\r\n\t ']/;

/** One line per row, CRLF-terminated, header first. `columns` gives the order and the header names. */
export function toCsv<Column extends string>(columns: readonly Column[], rows: ReadonlyArray<Readonly<Record<Column, CsvCell>>>): string {
  return [csvLine(columns), ...rows.map((row) => csvLine(columns.map((column) => row[column])))].join('');
}

/** One CRLF-terminated line. */
export function csvLine(cells: readonly CsvCell[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

/** An answer of type text/csv, offered for download under `filename`; `body` may be a stream of lines. */
export function csvResponse(filename: string, body: string | AsyncIterable<string>): StreamableFile {
  const source = typeof body === 'string' ? Readable.from([Buffer.from(body)]) : Readable.from(bytesOf(body));
  return new StreamableFile(source, { type: 'text/csv; charset=utf-8', disposition: `attachment; filename="${filename.replaceAll(/[^A-Za-z0-9._-]/g, '_')}"` });
}

function csvCell(value: CsvCell): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  const safe = FORMULA_START.test(text) && !PLAIN_NUMBER.test(text) ? `'${text}` : text;
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function* bytesOf(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const line of lines) yield Buffer.from(line);
}
