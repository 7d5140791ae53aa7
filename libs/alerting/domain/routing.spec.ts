import type { AlertKind, Severity } from './alert.js';
import { channelsFor } from './routing.js';

interface Given {
  channelId: string;
  kinds: AlertKind[] | null;
  tenantId: string | null;
  minSeverity: Severity;
  enabled: boolean;
}
const channel = (channelId: string, over: Partial<Given> = {}): Given => ({
  channelId,
  kinds: null,
  tenantId: null,
  minSeverity: 'info',
  enabled: true,
  ...over,
});
const alert = { kind: 'balance.low', severity: 'warning', tenantId: 'acme' } as const;

describe('channelsFor', () => {
  it('without an owner, every channel whose filter fits', () => {
    const channels = [
      channel('all'),
      channel('this-kind', { kinds: ['balance.low', 'balance.exhausted'] }),
      channel('other-kind', { kinds: ['period.closed'] }),
      channel('this-tenant', { tenantId: 'acme' }),
      channel('other-tenant', { tenantId: 'umbra' }),
      channel('critical-only', { minSeverity: 'critical' }),
      channel('warnings', { minSeverity: 'warning' }),
      channel('off', { enabled: false }),
    ];
    expect(channelsFor(alert, channels, [])).toEqual(['all', 'this-kind', 'this-tenant', 'warnings']);
  });

  it("the owner's channels instead of all", () => {
    expect(channelsFor(alert, [channel('a'), channel('b'), channel('c')], ['c', 'b'])).toEqual(['b', 'c']);
  });

  it("an owner who names another tenant's channel does not get its alerts sent there", () => {
    expect(channelsFor(alert, [channel('a'), channel('umbra-only', { tenantId: 'umbra' })], ['umbra-only'])).toEqual([]);
  });

  it("an owner's filter that leaves the alert out is his decision", () => {
    expect(channelsFor(alert, [channel('a'), channel('mine', { kinds: ['period.closed'] })], ['mine'])).toEqual([]);
  });

  it('an owner whose channels are gone or switched off is no reason to tell nobody', () => {
    expect(channelsFor(alert, [channel('a'), channel('off', { enabled: false })], ['off', 'never-made'])).toEqual(['a']);
  });

  it('an alert of no tenant does not go to a channel of one', () => {
    expect(channelsFor({ ...alert, tenantId: null }, [channel('a'), channel('acme', { tenantId: 'acme' })], [])).toEqual(['a']);
  });
});
