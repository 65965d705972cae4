/**
 * Which address a webhook may be sent to. Judged is the resolved address, and the connection goes to exactly the address that was judged:
 * a name that is public when it is looked at and private when it is connected to gains nothing.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { type Address, allowsAddress, allowsHost, parseAddress } from './allow-list.ts';

/** Turns a host name into addresses; the system's resolver outside tests. */
export type Resolve = (host: string, done: (error: Error | null, addresses: readonly LookupAddress[]) => void) => void;

/** A host that must not be connected to. The message names the setting that would allow it. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** The system's resolver: hosts file, search domains and DNS. It has no deadline of its own. */
export const systemResolve: Resolve = (host, done) => dnsLookup(host, { all: true }, done);

/**
 * Why a webhook must not go to an address; undefined when it may: a public unicast address, or one that `allow` names by itself or by
 * `host`.
 *
 * @param host as in the URL: a name, an IPv4 address or an IPv6 address in brackets
 * @param address IPv4 or IPv6 text; what cannot be read is refused
 */
export function refusalOf(host: string, address: string, allow: readonly string[]): string | undefined {
  const parsed = parseAddress(address);
  if (parsed === undefined) return `${address} cannot be read as an address`;
  const kind = specialKind(parsed);
  if (kind === undefined || allowsAddress(allow, parsed) || allowsHost(allow, host)) return undefined;
  const what = host === address ? `${host} is` : `${host} resolves to ${address},`;
  return `${what} ${kind}; a webhook goes there only when webhook.allow names the host or its network`;
}

/**
 * The refusal of a URL whose host is an address: node's clients connect to such a host without a lookup. Undefined for any other host.
 *
 * @param hostname `URL.hostname`, in which decimal, octal and hexadecimal IPv4 forms are already normalised
 */
export function literalRefusal(hostname: string, allow: readonly string[]): string | undefined {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  return parseAddress(bare) === undefined ? undefined : refusalOf(bare, bare, allow);
}

/**
 * A `lookup` for node:http and node:https. Gives the permitted ones of a host's addresses, and fails with AddressRefused when there are
 * none.
 */
export function guardedLookup(allow: readonly string[], resolve: Resolve = systemResolve): LookupFunction {
  return (host, options, done) => {
    resolve(host, (error, addresses) => {
      if (error !== null) return done(error, '');
      const refusals = addresses.map(({ address }) => refusalOf(host, address, allow));
      const permitted = addresses.filter((_, index) => refusals[index] === undefined);
      const [first] = permitted;
      if (first === undefined) return done(new AddressRefused(refusals[0] ?? `${host} has no address`), '');
      return options.all ? done(null, permitted) : done(null, first.address, first.family);
    });
  };
}

// Ranges by their names in ipaddr.js; any that is not named here is special too.
const KINDS: Readonly<Record<string, string>> = {
  loopback: 'a loopback address',
  private: 'a private address',
  uniqueLocal: 'a private address',
  deprecatedSiteLocal: 'a private address',
  linkLocal: 'a link-local address (cloud metadata services are there)',
  carrierGradeNat: 'an address of a carrier-grade NAT (100.64.0.0/10)',
  multicast: 'a multicast address',
  broadcast: 'the broadcast address',
  unspecified: 'the unspecified address',
  rfc6052: 'a NAT64 address, which stands for an IPv4 address',
  rfc6145: 'a translated address, which stands for an IPv4 address',
  '6to4': 'a 6to4 address, which stands for an IPv4 address',
  teredo: 'a Teredo address, which stands for an IPv4 address',
};

/** Azure's platform address: DHCP, DNS, health probes and the virtual machine's agent. It is a public one by its number. */
const AZURE_PLATFORM = '168.63.129.16';
/** The only IPv6 block of which global unicast addresses are given out (RFC 4291, IANA). */
const GLOBAL_UNICAST = 0x2000;

/** What kind of special address it is; undefined for a public unicast one. */
function specialKind(address: Address): string | undefined {
  if (address.toString() === AZURE_PLATFORM) return "Azure's platform address";
  const range = address.range();
  if (range !== 'unicast') return KINDS[range] ?? 'a reserved address';
  const unassigned = 'parts' in address && ((address.parts[0] ?? 0) & 0xe000) !== GLOBAL_UNICAST;
  return unassigned ? 'a reserved address' : undefined;
}
