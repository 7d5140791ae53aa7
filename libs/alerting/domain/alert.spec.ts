import { dedupOf, isAtLeast, SEVERITIES } from './alert.js';

describe('dedupOf', () => {
  const alert = { kind: 'threshold.crossed', tenantId: 'acme', dedupKey: 'b1 80 2026-11' } as const;

  it('is the same for the same crossing and differs by kind, tenant and key', () => {
    expect(dedupOf({ ...alert })).toBe(dedupOf(alert));
    const others = [
      dedupOf({ ...alert, kind: 'balance.low' }),
      dedupOf({ ...alert, tenantId: 'acm', dedupKey: 'eb1 80 2026-11' }),
      dedupOf({ ...alert, tenantId: null }),
      dedupOf({ ...alert, dedupKey: 'b1 80 2026-12' }),
    ];
    expect(new Set([dedupOf(alert), ...others]).size).toBe(5);
  });
});

describe('isAtLeast', () => {
  it('orders info, warning, critical', () => {
    expect(SEVERITIES.map((severity) => isAtLeast(severity, 'warning'))).toEqual([false, true, true]);
  });
});
