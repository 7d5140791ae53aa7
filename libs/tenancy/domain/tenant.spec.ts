import { autoCreateTenant, changeTenant, isTimeZone, registerTenant, sameSettings } from './tenant.js';

const AT = new Date('2026-11-22T12:00:00Z');
const LATER = new Date('2026-11-22T13:00:00Z');

describe('tenants', () => {
  it('start prepaid and enforced when someone registers them, postpaid and in shadow when an event brings them', () => {
    expect(registerTenant('acme', {}, AT)).toMatchObject({
      billing: 'prepaid',
      enforcement: 'enforce',
      creditLimitNano: 0n,
      status: 'active',
      timezone: 'UTC',
      autoCreated: false,
    });
    expect(autoCreateTenant('acme', AT)).toMatchObject({ billing: 'postpaid', enforcement: 'shadow', autoCreated: true });
  });

  it('keep what a change does not name: a rename lifts no suspension', () => {
    const suspended = registerTenant('acme', { status: 'suspended', creditLimitNano: 5n }, AT);
    expect(changeTenant(suspended, { name: 'Acme', status: undefined }, LATER)).toEqual({ ...suspended, name: 'Acme', updatedAt: LATER });
  });

  it('are adopted by the first change, with the settings they came with', () => {
    expect(changeTenant(autoCreateTenant('acme', AT), { name: 'Acme' }, LATER)).toMatchObject({
      autoCreated: false,
      billing: 'postpaid',
      enforcement: 'shadow',
      createdAt: AT,
    });
  });

  it('are the same when only their times differ', () => {
    const tenant = registerTenant('acme', { owner: { email: 'a@example.com' } }, AT);
    expect(sameSettings(tenant, { ...tenant, updatedAt: LATER })).toBe(true);
    expect(sameSettings(tenant, { ...tenant, creditLimitNano: 1n })).toBe(false);
    expect(sameSettings(tenant, { ...tenant, owner: null })).toBe(false);
  });

  it('cannot take the reserved id', () => {
    expect(() => registerTenant('unknown', {}, AT)).toThrow('tenant.reserved');
  });

  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Asia/Kolkata'])('may live in %s', (zone) => expect(isTimeZone(zone)).toBe(true));
  it.each(['', 'Mars/Olympus', '+02:00', 'Europe/Berlin\u0000', 'x'.repeat(100), '../etc'])('cannot live in %j', (zone) =>
    expect(isTimeZone(zone)).toBe(false),
  );
});
