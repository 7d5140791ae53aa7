/**
 * Ids made here are UUIDv7 (sortable by the millisecond they were made) with a readable prefix on the wire only.
 * Ids given by a caller are opaque text: 1 to 128 bytes of NFC UTF-8, printable, no space at either end.
 */
import { hash, randomInt } from 'node:crypto';
import { v7 } from 'uuid';

export type IdPrefix = 'evt' | 'txn' | 'lot' | 'key' | 'dl' | 'hold' | 'dec' | 'aud' | 'ak';

// Ids of one process are in the order they were made, also within a millisecond: lists and burn order follow arrival.
let last = { msecs: -1, seq: 0 };

/** A fresh UUIDv7 stamped with `at`. */
export function newUuid(at: Date): string {
  const msecs = at.getTime();
  last = { msecs, seq: msecs === last.msecs ? last.seq + 1 : randomInt(SEQ_START_LIMIT) };
  return v7({ msecs, seq: last.seq });
}

// Leaves room for two billion ids in one millisecond before the 32-bit counter would wrap.
const SEQ_START_LIMIT = 2 ** 31;

/** "evt_0190..." for a uuid. */
export function toWireId(prefix: IdPrefix, uuid: string): string {
  return `${prefix}_${uuid}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The uuid inside "evt_0190...", or null when prefix or form is another. */
export function fromWireId(prefix: IdPrefix, wireId: string): string | null {
  if (!wireId.startsWith(`${prefix}_`)) return null;
  const uuid = wireId.slice(prefix.length + 1);
  return UUID.test(uuid) ? uuid : null;
}

/** The millisecond a UUIDv7 was made in. */
export function timeOfUuid(uuid: string): Date {
  return new Date(Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16));
}

export const EXTERNAL_ID_RULE = 'must be 1 to 128 bytes of printable NFC text without leading or trailing space';
const EXTERNAL_ID_MAX_BYTES = 128;
// Control, format (zero-width), surrogate, private-use, unassigned, line and paragraph separators.
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;
const PLAIN_ASCII = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/;

/** Whether `text` may serve as an id given by a caller. */
export function isExternalId(text: string): boolean {
  if (PLAIN_ASCII.test(text)) return true;
  if (text.length === 0 || text.trim() !== text || UNPRINTABLE.test(text)) return false;
  return Buffer.byteLength(text) <= EXTERNAL_ID_MAX_BYTES && text.normalize('NFC') === text;
}

/** As {@link digest128}, in 32 hexadecimal digits: half the time where millions are made, compared and printed. */
export function digest128Hex(...parts: readonly string[]): string {
  let text = '';
  for (const part of parts) text += `${part.length}:${part}`;
  return hash('sha256', text, 'hex').slice(0, 32);
}

/** 128 bits of SHA-256 over the parts, each preceded by its length so that no two lists of well-formed parts collide. */
export function digest128(...parts: readonly string[]): Buffer {
  return Buffer.from(digest128Hex(...parts), 'hex');
}
