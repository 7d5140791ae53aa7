/** How a money route hands its Idempotency-Key to a use case, and how it gives a stored first answer again. */
import type { Json } from '#libs/kernel/index.js';
import { fingerprintOf, type IdempotencyKey, type Once } from '#libs/ledger/index.js';

/** `request` is everything the caller asked for that is not the tenant; null without a key. */
export function idempotencyOf<Receipt>(key: string | null, request: Json, toWire: (receipt: Receipt) => object): IdempotencyKey<Receipt> | null {
  if (key === null) return null;
  return { key, fingerprint: fingerprintOf(request), present: (receipt) => JSON.stringify(toWire(receipt)) };
}

/** The answer on the wire: made now, or the first one word for word. */
export function answerOf<Receipt, Wire extends object>(once: Once<Receipt>, toWire: (receipt: Receipt) => Wire): Wire {
  // Stored by `idempotencyOf` from the same `toWire`, so it has its shape.
  return once.outcome === 'done' ? toWire(once.receipt) : (JSON.parse(once.answer) as Wire);
}
