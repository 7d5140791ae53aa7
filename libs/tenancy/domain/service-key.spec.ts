import { createHash } from 'node:crypto';
import { hashKey, isLive, makeSecret, publicIdOf, sameHash } from './service-key.js';

describe('service keys', () => {
  it('have at least 128 random bits, none of them shared between two keys', () => {
    const made = Array.from({ length: 500 }, () => makeSecret('live'));
    expect(new Set(made.map((key) => key.publicId)).size).toBe(500);
    const secrets = made.map((key) => key.rawKey.split('_')[3]?.slice(0, 32) ?? '');
    expect(new Set(secrets).size).toBe(500);
    // 32 characters of a 32-letter alphabet are 160 bits, if every letter is as likely as any other.
    const counts = new Map<string, number>();
    for (const char of secrets.join('')) counts.set(char, (counts.get(char) ?? 0) + 1);
    expect(counts.size).toBe(32);
    for (const count of counts.values()) expect(Math.abs(count - 500)).toBeLessThan(150);
  });

  it('are found by their public id and stored as the SHA-256 of the whole key', () => {
    const { rawKey, publicId, secretHash } = makeSecret('prod');
    expect(rawKey).toMatch(/^tg_prod_[0-9a-z]{16}_[0-9a-z]{38}$/);
    expect(publicIdOf(rawKey)).toBe(publicId);
    expect(secretHash.equals(createHash('sha256').update(rawKey).digest())).toBe(true);
  });

  it('with any one character changed are refused by their checksum (but for chance) or by their digest (always)', () => {
    const { rawKey, secretHash } = makeSecret('live');
    for (let index = 0; index < rawKey.length; index += 1) {
      const changed = rawKey.slice(0, index) + (rawKey[index] === '7' ? '8' : '7') + rawKey.slice(index + 1);
      expect(publicIdOf(changed)).toBeNull();
      expect(sameHash(hashKey(changed), secretHash)).toBe(false);
    }
  });

  it.each(['', 'tg_live', 'sk-abc', 'tg_live_x_y', `tg_live_${'0'.repeat(16)}_${'0'.repeat(38)}`, `tg__${'0'.repeat(16)}_${'0'.repeat(38)}`])(
    'refuses %j by its form',
    (text) => {
      expect(publicIdOf(text)).toBeNull();
    },
  );

  it('compares digests of unequal length without throwing', () => {
    expect(sameHash(Buffer.alloc(32), Buffer.alloc(31))).toBe(false);
  });

  it('end at the instant of their expiry and at their revocation', () => {
    const expiresAt = new Date('2026-11-22T12:00:00Z');
    expect(isLive({ revokedAt: null, expiresAt }, new Date('2026-11-22T11:59:59.999Z'))).toBe(true);
    expect(isLive({ revokedAt: null, expiresAt }, expiresAt)).toBe(false);
    expect(isLive({ revokedAt: expiresAt, expiresAt: null }, new Date('2020-01-01T00:00:00Z'))).toBe(false);
  });
});
