import { isAllowed, isPublicAddress, parseOutgoingAllow } from './outgoing-allow.js';

describe('isPublicAddress', () => {
  it.each(['93.184.216.34', '1.1.1.1', '2606:4700:4700::1111', '2a00:1450:4001:81b::200e'])('takes %s', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  it.each([
    ['loopback', '127.0.0.1'],
    ['loopback, not its first address', '127.8.8.8'],
    ['this network', '0.0.0.0'],
    ['this network, any address', '0.1.2.3'],
    ['private class A', '10.1.2.3'],
    ['private class B', '172.31.255.255'],
    ['private class C', '192.168.0.1'],
    ['carrier-grade NAT', '100.64.0.1'],
    ['link-local', '169.254.1.1'],
    ['cloud metadata', '169.254.169.254'],
    ['multicast', '224.0.0.1'],
    ['reserved', '240.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['documentation', '192.0.2.1'],
    ['benchmarking', '198.18.0.1'],
    ['6to4 relay', '192.88.99.1'],
    ['IPv6 loopback', '::1'],
    ['IPv6 unspecified', '::'],
    ['unique local', 'fd12:3456::1'],
    ['cloud metadata over IPv6', 'fd00:ec2::254'],
    ['IPv6 link-local', 'fe80::1'],
    ['IPv6 site-local', 'fec0::1'],
    ['IPv6 multicast', 'ff02::1'],
    ['IPv4-mapped loopback', '::ffff:127.0.0.1'],
    ['IPv4-mapped loopback in hexadecimal', '::ffff:7f00:1'],
    ['IPv4-mapped public address', '::ffff:93.184.216.34'],
    ['IPv4-compatible loopback', '::7f00:1'],
    ['IPv4-translated', '::ffff:0:7f00:1'],
    ['NAT64 of loopback', '64:ff9b::7f00:1'],
    ['NAT64, local use', '64:ff9b:1::7f00:1'],
    ['6to4 of loopback', '2002:7f00:1::'],
    ['Teredo', '2001::7f00:1'],
    ['IPv6 documentation', '2001:db8::1'],
    ['discard', '100::1'],
    ['unassigned by IANA', '4000::1'],
    ['a zone', 'fe80::1%eth0'],
    ['an octal spelling', '0177.0.0.1'],
    ['a decimal spelling', '2130706433'],
    ['a name', 'example.com'],
    ['nothing', ''],
  ])('refuses %s: %s', (_what, address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe('parseOutgoingAllow and isAllowed', () => {
  const allowed = (list: string, host: string, port: number, address: string): boolean => isAllowed(parseOutgoingAllow(list) ?? [], { host, port, address });

  it('an entry without a port allows every port, one with a port that port alone', () => {
    expect(allowed('10.0.0.0/8', 'h', 8080, '10.9.9.9')).toBe(true);
    expect(allowed('10.0.0.0/8:8080', 'h', 8080, '10.9.9.9')).toBe(true);
    expect(allowed('10.0.0.0/8:8080', 'h', 8081, '10.9.9.9')).toBe(false);
    expect(allowed('10.0.0.0/8', 'h', 8080, '11.0.0.1')).toBe(false);
  });

  it('a network is met by the address, a host by its name', () => {
    expect(allowed('127.0.0.1:9000', 'localhost', 9000, '127.0.0.1')).toBe(true);
    expect(allowed('Hooks.Internal:443', 'hooks.internal', 443, '10.0.0.1')).toBe(true);
    expect(allowed('hooks.internal', 'other.internal', 443, '10.0.0.1')).toBe(false);
  });

  it('takes IPv6 with and without brackets, and an IPv4 address written as IPv6 for the same machine', () => {
    expect(allowed('[fd00::1]:8443', 'h', 8443, 'fd00::1')).toBe(true);
    expect(allowed('fd00::/8', 'h', 1, 'fd12::1')).toBe(true);
    expect(allowed('10.0.0.0/8', 'h', 1, '::ffff:10.1.1.1')).toBe(true);
    expect(allowed('fd00::/8', 'h', 1, '10.0.0.1')).toBe(false);
  });

  it('an empty list allows nothing', () => {
    expect(parseOutgoingAllow('')).toEqual([]);
    expect(allowed('', 'localhost', 80, '127.0.0.1')).toBe(false);
  });

  it.each(['10.0.0.0/33', '10.0.0', '300.1.1.1', 'a b', 'host:0', 'host:70000', 'http://host', '[host]:80', '0177.0.0.1', '010.0.0.0/8'])(
    'refuses %s',
    (entry) => {
      expect(parseOutgoingAllow(`10.0.0.0/8, ${entry}`)).toBeNull();
    },
  );
});
