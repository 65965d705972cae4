/** `webhook.allow`: the private hosts and addresses that webhooks may go to. */
import { domainToASCII } from 'node:url';
import ipaddr from 'ipaddr.js';

/** An address as ipaddr.js reads it. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * What is wrong with an entry; undefined for a good one: a host name (`backend.prod.svc`), a suffix (`*.prod.svc`), an address
 * (`10.0.0.7`, `fd00::7`) or a CIDR (`10.0.0.0/8`).
 */
export function allowEntryProblem(entry: string): string | undefined {
  if (parseRange(entry) !== undefined || parseAddress(entry) !== undefined || hostPattern(entry) !== undefined)
    return undefined;
  return 'is neither a host name, *.suffix, an address nor a CIDR. Write it without scheme, port and path';
}

/** True when the entries name the host. A bad entry names nothing. */
export function allowsHost(allow: readonly string[], host: string): boolean {
  const wanted = withoutFinalDot(host.toLowerCase());
  return allow.some((entry) => {
    const pattern = hostPattern(entry);
    if (pattern === undefined) return false;
    return pattern.startsWith('*.') ? wanted.endsWith(pattern.slice(1)) : wanted === pattern;
  });
}

/** True when the entries name the address, itself or by a CIDR. */
export function allowsAddress(allow: readonly string[], address: Address): boolean {
  return allow.some((entry) => {
    const range = parseRange(entry);
    if (range !== undefined) return address.kind() === range[0].kind() && address.match(range);
    return parseAddress(entry)?.toNormalizedString() === address.toNormalizedString();
  });
}

/** Reads an address, with or without the brackets of a URL; an IPv4-mapped one becomes the IPv4 address that it is. */
export function parseAddress(text: string): Address | undefined {
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return ipaddr.IPv4.parse(bare);
  if (!ipaddr.IPv6.isValid(bare)) return undefined;
  const address = ipaddr.IPv6.parse(bare);
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

function parseRange(entry: string): [Address, number] | undefined {
  // The general check would take "10.0.0/8" too, and others would read it differently.
  const valid = ipaddr.IPv4.isValidCIDRFourPartDecimal(entry) || ipaddr.IPv6.isValidCIDR(entry);
  return valid ? ipaddr.parseCIDR(entry) : undefined;
}

function hostPattern(entry: string): string | undefined {
  const star = entry.startsWith('*.') ? '*.' : '';
  const host = withoutFinalDot(entry.includes('/') ? '' : domainToASCII(entry.slice(star.length)));
  // A name whose last label is a number would be read as an IPv4 address by every URL parser.
  const valid = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/.test(host);
  return valid && !/(^|\.)[0-9]+$/.test(host) ? star + host : undefined;
}

function withoutFinalDot(host: string): string {
  return host.endsWith('.') ? host.slice(0, -1) : host;
}
