/**
 * A key reads `tg_<env>_<public id>_<secret>`. The public id finds the row; the SHA-256 of the whole key is what is stored and compared, so
 * the database never holds anything a thief could use. The secret ends in a checksum: scanners recognise a leaked key, and noise is refused
 * without a query. Alphabets have no underscore, so the parts cannot be misread.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export const SCOPES = ['admin', 'ingest', 'authorize', 'read'] as const;
export type Scope = (typeof SCOPES)[number];

export interface ServiceKey {
  readonly keyId: string;
  readonly publicId: string;
  readonly secretHash: Buffer;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The key sees this tenant alone. */
  readonly tenantId: string | null;
  /** The key reports for this source alone. */
  readonly sourceId: string | null;
  /** The key this one was rotated from. */
  readonly replaces: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
}

/** A key as text, known only while it is being made. */
export interface NewSecret {
  readonly rawKey: string;
  readonly publicId: string;
  readonly secretHash: Buffer;
}

// Crockford's base 32: no letters that are mistaken for digits; 5 bits a character.
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const PUBLIC_ID_CHARS = 16;
// 160 random bits; 128 is the floor.
const SECRET_CHARS = 32;
const CHECKSUM_CHARS = 6;
const RAW_KEY = /^tg_([a-z0-9]{1,16})_([0-9a-hjkmnp-tv-z]{16})_([0-9a-hjkmnp-tv-z]{38})$/;

/** Makes a key for the environment label `environment` (1 to 16 lower-case letters and digits). */
export function makeSecret(environment: string): NewSecret {
  const publicId = randomText(PUBLIC_ID_CHARS);
  const body = `tg_${environment}_${publicId}_${randomText(SECRET_CHARS)}`;
  const rawKey = body + checksum(body);
  return { rawKey, publicId, secretHash: hashKey(rawKey) };
}

/** The public id inside a well-formed key whose checksum fits, else null. */
export function publicIdOf(rawKey: string): string | null {
  const match = RAW_KEY.exec(rawKey);
  if (!match) return null;
  const body = rawKey.slice(0, -CHECKSUM_CHARS);
  return checksum(body) === rawKey.slice(-CHECKSUM_CHARS) ? (match[2] ?? null) : null;
}

/** SHA-256 of the whole key. */
export function hashKey(rawKey: string): Buffer {
  return createHash('sha256').update(rawKey).digest();
}

/** Compares two digests in a time that does not depend on them. */
export function sameHash(left: Buffer, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Whether a key may be used at `at`. */
export function isLive(key: Pick<ServiceKey, 'revokedAt' | 'expiresAt'>, at: Date): boolean {
  return key.revokedAt === null && (key.expiresAt === null || key.expiresAt.getTime() > at.getTime());
}

function randomText(chars: number): string {
  // 256 is a multiple of 32, so the remainder is unbiased.
  return [...randomBytes(chars)].map((byte) => ALPHABET.charAt(byte % ALPHABET.length)).join('');
}

function checksum(body: string): string {
  const digest = createHash('sha256').update(body).digest();
  return [...digest.subarray(0, CHECKSUM_CHARS)].map((byte) => ALPHABET.charAt(byte % ALPHABET.length)).join('');
}
