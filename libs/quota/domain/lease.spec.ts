import fc from 'fast-check';
import { counterOfLease, grantFrom, leaseKey, loweredGrant, parseLease } from './lease.js';

const amount = fc.bigInt({ min: 0n, max: 1_000n });
const ask = fc.record({
  committed: amount,
  amounts: fc.array(fc.bigInt({ min: 1n, max: 300n }), { maxLength: 4 }),
  unit: fc.bigInt({ min: 1n, max: 300n }),
  wanted: amount,
});

describe('grants of a shared limit', () => {
  it('H7 never raise what is given out above the limit, whatever tenants ask for in whatever order', () => {
    const property = fc.property(fc.bigInt({ min: 0n, max: 2_000n }), fc.array(fc.tuple(fc.nat(3), ask), { maxLength: 30 }), (limit, asks) => {
      const leases = [0n, 0n, 0n, 0n];
      for (const [tenant, asked] of asks) {
        const granted = leases.reduce((sum, lease) => sum + lease, 0n);
        const holders = BigInt(leases.filter((lease) => lease > 0n).length);
        const next = grantFrom({ limit, granted, holders }, leases[tenant] ?? 0n, asked);
        if (next === null) continue;
        expect(next).toBeGreaterThanOrEqual(leases[tenant] ?? 0n);
        leases[tenant] = next;
        expect(leases.reduce((sum, lease) => sum + lease, 0n)).toBeLessThanOrEqual(limit);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  it('cover the calls that wait while there is any, and leave most of the rest to others', () => {
    const pool = { limit: 1_000n, granted: 0n, holders: 0n };
    const one = { committed: 0n, unit: 10n, wanted: 10_000n };
    expect(grantFrom(pool, 0n, { ...one, amounts: [10n] })).toBe(250n);
    expect(grantFrom({ ...pool, granted: 990n, holders: 4n }, 0n, { ...one, amounts: [10n] })).toBe(10n);
    expect(grantFrom({ ...pool, granted: 990n, holders: 4n }, 0n, { ...one, amounts: [8n, 6n, 3n] })).toBe(9n);
    expect(grantFrom({ ...pool, granted: 995n, holders: 4n }, 0n, { ...one, amounts: [10n] })).toBeNull();
    expect(grantFrom({ ...pool, granted: 995n, holders: 4n }, 0n, { ...one, amounts: [] })).toBe(0n);
    expect(grantFrom({ ...pool, granted: 1_001n, holders: 4n }, 900n, { ...one, amounts: [10n] })).toBeNull();
  });

  it('are lowered by what lies unused, and never by what may have been promised', () => {
    const grant = { granted: 100n, fenced: 20n, version: 1n };
    expect([loweredGrant(grant, 30n, 20n, null), loweredGrant(grant, 30n, 0n, 5n), loweredGrant(grant, 90n, 20n, null)]).toEqual([50n, 95n, 100n]);
  });

  it('have names that tell the counter, its period and the percent', () => {
    const lease = leaseKey('OxvYfZmRrYp3n0z3eQ59-w.all.1767225600000.usd', 80);
    expect(parseLease(lease)).toEqual({ ruleKey: 'OxvYfZmRrYp3n0z3eQ59-w', valueKey: 'all', startsAtMs: 1_767_225_600_000, metric: 'usd', percent: 80 });
    expect([counterOfLease('a.b.r.tokens@100'), parseLease('a.b.r.tokens@100')?.startsAtMs, parseLease('a.b.r.tokens')]).toEqual(['a.b.r.tokens', null, null]);
  });
});
