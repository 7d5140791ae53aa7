import { DAY_MS, MINUTE_MS } from '#libs/kernel/index.js';
import { aReport } from '../testing/reports.js';
import { checkWindow, chooseTenant } from './admission.js';

const NOW = new Date('2026-11-22T12:00:00.000Z');
const after = (ms: number): Date => new Date(NOW.getTime() + ms);
const registered = (tenantId: string): boolean => tenantId === 'acme';

describe('the window of occurred_at is [now - max age, now + 5 minutes]', () => {
  it.each([
    [-35 * DAY_MS, null],
    [-35 * DAY_MS - 1, 'event.too_old'],
    [0, null],
    [5 * MINUTE_MS, null],
    [5 * MINUTE_MS + 1, 'event.too_new'],
  ])('%d ms from now: %s', (ms, code) => {
    expect(checkWindow(after(ms), NOW, 35)?.code ?? null).toBe(code);
  });
});

describe('E6 whose spend it is', () => {
  it('a key of one tenant never books on another, whatever the body says', () => {
    expect(chooseTenant(aReport({ tenantId: 'globex' }), 'acme', registered)).toMatchObject({
      kind: 'refused',
      refusal: { code: 'tenant.foreign', path: 'tenant_id' },
    });
  });

  it('a key of one tenant needs no tenant in the body', () => {
    expect(chooseTenant(aReport({ tenantId: null }), 'acme', registered)).toEqual({ kind: 'tenant', tenantId: 'acme' });
  });

  it.each([
    ['acme', { kind: 'tenant', tenantId: 'acme' }],
    ['stranger', { kind: 'unregistered', tenantId: 'stranger' }],
    [null, { kind: 'unknown' }],
  ])('without a bound key the body names %s', (tenantId, expected) => {
    expect(chooseTenant(aReport({ tenantId }), null, registered)).toEqual(expected);
  });
});
