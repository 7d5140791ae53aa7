/**
 * Rows of several tables in one message: COPY, the quickest way in, all tables or none, at the price of one round trip and one write.
 * The data follows the statement at once, without waiting for the server's go-ahead: a server that refuses the statement passes over the
 * rows that are already under way (protocol, "Accept but ignore", PostgresMain), so a failure leaves the connection as usable as before.
 */
import type pg from 'pg';

export interface CopyTable {
  /** With its schema; not quoted here. */
  readonly table: string;
  readonly columns: readonly string[];
  /** Rows in COPY's text format, each ended by a line feed: see {@link copyText}. */
  readonly rows: string;
}

export type CopyValue = string | number | bigint | boolean | null;

const SPECIAL = /[\\\t\n\r]/;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** One value that may hold any text. */
export function copyText(value: string | null): string {
  if (value === null) return '\\N';
  return SPECIAL.test(value) ? value.replace(/[\\\t\n\r]/g, (special) => ESCAPES[special] ?? special) : value;
}

/** 16 hexadecimal bytes or more as bytea. */
export function copyBytes(hex: string | null): string {
  return hex === null ? '\\N' : `\\\\x${hex}`;
}

/** A value whose text never needs escaping: a number, a uuid, a boolean, a time. */
export function copyPlain(value: CopyValue): string {
  return value === null ? '\\N' : String(value);
}

type Done = (error: Error | null | undefined, copied?: number) => void;

/** For `client.query(...)`. Without a transaction around it, it is one of its own. */
export class CopyIn implements pg.Submittable {
  /** Set by the driver. */
  callback: Done | undefined;
  private copied = 0;
  private ended = false;

  constructor(private readonly tables: readonly CopyTable[]) {}

  submit(connection: pg.Connection): null {
    connection.stream.write(messageOf(this.tables));
    return null;
  }

  /** Nothing to do: the rows are on their way. */
  handleCopyInResponse(): void {}

  handleCommandComplete(message: { readonly text: string }): void {
    this.copied += Number(/\d+$/.exec(message.text)?.[0] ?? 0);
  }

  /** The driver forgets a query that failed; whoever waits for this one may use the connection again when the server is ready. */
  handleError(error: Error, connection: pg.Connection): void {
    if ((error as { severity?: string }).severity !== 'ERROR') return this.end(error);
    const settle = (): void => {
      connection.off('readyForQuery', settle).off('end', settle);
      this.end(error);
    };
    connection.on('readyForQuery', settle).on('end', settle);
  }

  /** The last table's commit is behind us: a failure of it would have come as an error. */
  handleReadyForQuery(): void {
    this.end(null);
  }

  private end(error: Error | null): void {
    if (this.ended) return;
    this.ended = true;
    this.callback?.(error, this.copied);
  }
}

/** Query, then for each table its rows (CopyData) and their end (CopyDone). */
function messageOf(tables: readonly CopyTable[]): Buffer {
  const statement = tables.map(({ table, columns }) => `COPY ${table} (${columns.join(', ')}) FROM STDIN`).join('; ');
  const parts = framed('Q', Buffer.from(`${statement}\0`));
  for (const { rows } of tables) parts.push(...framed('d', Buffer.from(rows)), ...framed('c', Buffer.alloc(0)));
  return Buffer.concat(parts);
}

/** A message of the protocol: its type, its length with the length's own four bytes, its content. */
function framed(type: 'Q' | 'd' | 'c', content: Buffer): [Buffer, Buffer] {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(4 + content.length, 1);
  return [head, content];
}
