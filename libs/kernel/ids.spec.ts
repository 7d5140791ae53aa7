import fc from 'fast-check';
import { digest128, fromWireId, isExternalId, newUuid, timeOfUuid, toWireId } from './ids.js';

describe('ids made here', () => {
  it('carry the millisecond they were made in and sort by it', () => {
    const earlier = newUuid(new Date('2026-11-22T12:00:00.000Z'));
    const later = newUuid(new Date('2026-11-22T12:00:00.001Z'));
    expect(timeOfUuid(earlier).toISOString()).toBe('2026-11-22T12:00:00.000Z');
    expect(earlier < later).toBe(true);
  });

  it('carry any millisecond of the next thousand years', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date('3026-01-01T00:00:00Z'), noInvalidDate: true }),
        (at) => timeOfUuid(newUuid(at)).getTime() === at.getTime(),
      ),
    );
  });

  it('made in one millisecond are different', () => {
    const at = new Date('2026-11-22T12:00:00.000Z');
    expect(new Set(Array.from({ length: 1_000 }, () => newUuid(at))).size).toBe(1_000);
  });

  it('are read back only under their own prefix', () => {
    const uuid = newUuid(new Date('2026-11-22T12:00:00.000Z'));
    expect(fromWireId('evt', toWireId('evt', uuid))).toBe(uuid);
    expect(fromWireId('txn', toWireId('evt', uuid))).toBeNull();
    expect(fromWireId('evt', 'evt_1; DROP TABLE')).toBeNull();
  });
});

describe('ids given by a caller', () => {
  it.each(['acme', 'a', 'Größe', 'org:{1}/x y', 'x'.repeat(128)])('accepts %p', (text) => {
    expect(isExternalId(text)).toBe(true);
  });

  it.each(['', ' a', 'a ', 'a\n', 'a\u200bb', 'a\0', 'x'.repeat(129), 'ä'.repeat(65), 'e\u0301', '\ud800'])('refuses %p', (text) => {
    expect(isExternalId(text)).toBe(false);
  });

  it('accepts exactly the printable texts of at most 128 bytes, however they are made', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 140 }), (text) => {
        const printable = !/[\p{C}\p{Zl}\p{Zp}]/u.test(text) && text.trim() === text && text === text.normalize('NFC');
        const bytes = new TextEncoder().encode(text).length;
        return isExternalId(text) === (printable && bytes >= 1 && bytes <= 128);
      }),
    );
  });

  it('digest differently when the same characters are split differently', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (left, right) => !digest128(left, right).equals(digest128(left + right, '')) || right === ''),
    );
  });
});
