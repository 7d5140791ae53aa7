import fc from 'fast-check';
import { FACTS } from '../testing/quota-world.js';
import { captureHold, chargeHold, endHold, extendHold, heldBy, HOLD_STATES, isUncharged, UNRESOLVED_POLICIES, type Hold } from './hold.js';

const base: Hold = {
  holdId: 'h',
  tenantId: 'acme',
  kind: 'call',
  state: 'active',
  resolution: null,
  amountNano: 100n,
  capturedNano: 0n,
  capturedTokens: 0n,
  capturedRequests: 0n,
  claims: [],
  callDigest: null,
  bodyHash: null,
  policy: 'charge_hold',
  createdAtMs: 0,
  expiresAtMs: 1_000,
  resolvedAtMs: null,
  facts: FACTS,
};
const ENDED: Pick<Hold, 'state' | 'resolution'>[] = [
  { state: 'settled', resolution: 'event' },
  { state: 'released', resolution: 'release' },
];
const RAN_OUT = { state: 'unresolved', resolution: 'expired', resolvedAtMs: 1 } as const;

describe('H3 a hold leaves active once', () => {
  it.each(ENDED)('one that is $state ends no second time, whoever asks', (ended) => {
    for (const to of ['settled', 'released', 'unresolved'] as const)
      expect(endHold({ ...base, ...ended, resolvedAtMs: 1 }, { to, resolution: 'second' }, 2)).toBeNull();
  });

  it('one that ran out is settled by its late event or released, and does not run out again, and its call stopped running when it ran out', () => {
    expect(endHold({ ...base, ...RAN_OUT }, { to: 'unresolved', resolution: 'expired' }, 2)).toBeNull();
    expect(endHold({ ...base, ...RAN_OUT }, { to: 'settled', resolution: 'late_event' }, 2)).toMatchObject({ state: 'settled', resolvedAtMs: 1 });
    expect(endHold({ ...base, ...RAN_OUT }, { to: 'released', resolution: 'release' }, 2)).toMatchObject({ state: 'released' });
  });

  it('what closes comes second on an ended hold: the sum is remembered, the end stays', () => {
    for (const ended of ENDED)
      expect(captureHold({ ...base, ...ended, resolvedAtMs: 1 }, { nano: 40n, tokens: 3n, requests: 1n }, true, 2)).toEqual({
        ...base,
        ...ended,
        resolvedAtMs: 1,
        capturedNano: 40n,
        capturedTokens: 3n,
        capturedRequests: 1n,
      });
  });

  it('only an active one grows, and never shrinks', () => {
    expect(extendHold(base, { amountNano: 50n, expiresAtMs: 500, claims: [], facts: FACTS })).toEqual(base);
    expect(extendHold(base, { amountNano: 150n, expiresAtMs: 1_500, claims: [], facts: FACTS })).toMatchObject({ amountNano: 150n, expiresAtMs: 1_500 });
    for (const state of ['settled', 'released', 'unresolved'] as const)
      expect(extendHold({ ...base, state }, { amountNano: 150n, expiresAtMs: 1_500, claims: [], facts: FACTS })).toBeNull();
  });
});

describe('what a hold keeps', () => {
  it('is never negative, nothing once it ended, and all that is not captured while its call may still cost', () => {
    const hold = fc.record({
      state: fc.constantFrom(...HOLD_STATES),
      resolution: fc.constantFrom('expired', 'charged'),
      policy: fc.constantFrom(...UNRESOLVED_POLICIES),
      amountNano: fc.bigInt({ min: 0n, max: 1_000n }),
      capturedNano: fc.bigInt({ min: 0n, max: 1_500n }),
    });
    fc.assert(
      fc.property(hold, (drawn) => {
        const open = drawn.state === 'active' || (drawn.state === 'unresolved' && drawn.policy !== 'release' && drawn.resolution === 'expired');
        const left = drawn.amountNano > drawn.capturedNano ? drawn.amountNano - drawn.capturedNano : 0n;
        expect(heldBy(drawn)).toBe(open ? left : 0n);
      }),
    );
  });

  it('is nothing once its policy charged it, and the charge is no news of how the call ended', () => {
    const charged = chargeHold({ ...base, ...RAN_OUT });
    expect([heldBy(charged), isUncharged(charged), charged.state]).toEqual([0n, false, 'unresolved']);
    expect(chargeHold(base)).toEqual(base);
  });
});
