/**
 * Where this program may connect on a caller's word: public unicast addresses only, so that nobody who may set a URL can make us knock on
 * the machines behind our firewall. What is public is decided by ipaddr.js (IANA's registries), and whatever it does not call plain
 * unicast is refused: a range that is reserved tomorrow is closed until the library says otherwise. An operator names exceptions.
 */
import ipaddr from 'ipaddr.js';

/** One entry of TOLLGATE_OUTGOING_ALLOW: a network, or a host by name, with any port or one. */
export type OutgoingAllowance =
  | { readonly kind: 'network'; readonly network: readonly [ipaddr.IPv4 | ipaddr.IPv6, number]; readonly port: number | null }
  | { readonly kind: 'host'; readonly host: string; readonly port: number | null };

export const OUTGOING_ALLOW_RULE =
  'takes a comma-separated list of networks, addresses and host names, each with a port or without: 10.0.0.0/8, 127.0.0.1:9000, [fd00::1]:443, hooks.internal';

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const GLOBAL_IPV6: readonly [ipaddr.IPv6, number] = ipaddr.IPv6.parseCIDR('2000::/3');

/** Reads the list; null when an entry is none of the forms. */
export function parseOutgoingAllow(text: string): readonly OutgoingAllowance[] | null {
  const entries = text
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '');
  const parsed = entries.map(parseEntry);
  return parsed.every((entry) => entry !== null) ? parsed : null;
}

/** Whether the address is globally reachable unicast: not loopback, private, link-local, shared, mapped, translated, reserved or multicast. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  return parsed.kind() === 'ipv4' ? ipaddr.IPv4.isValidFourPartDecimal(address) : parsed.match(GLOBAL_IPV6[0], GLOBAL_IPV6[1]);
}

/** Whether an entry names this host, or a network this address is in, at this port. */
export function isAllowed(
  allowances: readonly OutgoingAllowance[],
  target: { readonly host: string; readonly port: number; readonly address: string },
): boolean {
  return allowances.some((entry) => {
    if (entry.port !== null && entry.port !== target.port) return false;
    if (entry.kind === 'host') return entry.host === target.host.toLowerCase();
    if (!ipaddr.isValid(target.address)) return false;
    // An IPv4 address written as IPv6 is the same machine.
    const address = ipaddr.process(target.address);
    return address.kind() === entry.network[0].kind() && address.match(entry.network[0], entry.network[1]);
  });
}

function parseEntry(entry: string): OutgoingAllowance | null {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(entry);
  const plain = /^([^:]+)(?::(\d{1,5}))?$/.exec(entry);
  // Without brackets an IPv6 network has no port.
  const [, name = entry, portText] = bracketed ?? plain ?? [];
  const port = portText === undefined ? null : Number(portText);
  if (port !== null && (port < 1 || port > 65_535)) return null;
  const network = parseNetwork(name);
  if (network !== null) return { kind: 'network', network, port };
  // A name that looks like an address but is none would never match what the operator meant.
  return bracketed === null && HOST_NAME.test(name) && !/^[0-9.]+$/.test(name) ? { kind: 'host', host: name, port } : null;
}

function parseNetwork(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | null {
  const exact = (address: string): boolean => address.includes(':') || ipaddr.IPv4.isValidFourPartDecimal(address);
  if (ipaddr.isValidCIDR(text) && exact(text.slice(0, text.indexOf('/')))) return ipaddr.parseCIDR(text);
  if (!ipaddr.isValid(text) || !exact(text)) return null;
  const address = ipaddr.parse(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}
