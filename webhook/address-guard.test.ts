import type { LookupAddress, LookupOptions } from 'node:dns';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AddressRefused, guardedLookup, literalRefusal, type Resolve, refusalOf } from './address-guard.ts';

describe('refusalOf', () => {
  test.each([
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.1',
    '100.127.255.255',
    '192.0.0.1',
    '192.0.0.192',
    '192.0.2.1',
    '192.88.99.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::2',
    '::7f00:1',
    '::127.0.0.1',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd00:ec2::254',
    'fec0::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '::ffff:a8.63.129.16'.replace('a8', '168'),
    '::ffff:0:127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::a00:1',
    '2002:7f00:1::',
    '2001::1',
    '2001:db8::1',
    '100::1',
    '4000::1',
    '400::1',
    'not an address',
    '',
    '127.1',
    '2130706433',
  ])('refuses %s', (address) => {
    expect(refusalOf('hook.example.com', address, [])).toBeTypeOf('string');
  });

  test.each([
    '8.8.8.8',
    '1.1.1.1',
    '172.32.0.1',
    '100.128.0.1',
    '169.253.1.1',
    '2606:4700::1',
    '2a00:1450:4001:80b::200e',
    '::ffff:8.8.8.8',
  ])('permits %s', (address) => {
    expect(refusalOf('hook.example.com', address, [])).toBeUndefined();
  });

  test('says what it is, and the setting that would allow it', () => {
    expect(refusalOf('backend.prod.svc', '10.0.0.7', [])).toBe(
      'backend.prod.svc resolves to 10.0.0.7, a private address; a webhook goes there only when webhook.allow names the host or its network',
    );
    expect(refusalOf('169.254.169.254', '169.254.169.254', [])).toMatch(/^169\.254\.169\.254 is a link-local address/);
  });

  test('every address of a private network is refused, and permitted by its CIDR', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(octet, octet, octet, (b, c, d) => {
        const address = `10.${b}.${c}.${d}`;
        for (const form of [address, `::ffff:${address}`]) {
          expect(refusalOf('h', form, [])).toBeDefined();
          expect(refusalOf('h', form, ['192.168.0.0/16', 'fd00::/8'])).toBeDefined();
          expect(refusalOf('h', form, ['10.0.0.0/8'])).toBeUndefined();
          expect(refusalOf('h', form, [address])).toBeUndefined();
        }
      }),
    );
  });

  test('nothing outside 2000::/3 is public in IPv6', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const first = Number.parseInt(address.startsWith('::') ? '0' : (address.split(':')[0] ?? '0'), 16);
        if ((first & 0xe000) !== 0x2000 && !address.includes('.') && !/^(0*:)*:?f{4}:/i.test(address)) {
          expect(refusalOf('h', address, [])).toBeDefined();
        }
      }),
    );
  });
});

describe('literalRefusal', () => {
  const hostname = (url: string) => URL.parse(url)?.hostname ?? '';

  test.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0177.0.0.1/',
    'http://127.0.0.1./',
    'http://0/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::]/',
    'http://①②⑦.0.0.1/',
    'http://169.254.169.254/',
    'http://[fd00::1]:8080/',
  ])('refuses %s', (url) => {
    expect(literalRefusal(hostname(url), [])).toBeTypeOf('string');
  });

  test('leaves names to the lookup', () => {
    expect(literalRefusal('localhost', [])).toBeUndefined();
    expect(literalRefusal('127.0.0.1.nip.io', [])).toBeUndefined();
  });

  test('permits what is allowed', () => {
    expect(literalRefusal(hostname('http://127.1/'), ['127.0.0.0/8'])).toBeUndefined();
    expect(literalRefusal(hostname('http://[fd00::1]/'), ['fd00::/64'])).toBeUndefined();
    expect(literalRefusal(hostname('http://8.8.8.8/'), [])).toBeUndefined();
  });
});

describe('guardedLookup', () => {
  const lookUp = (allow: readonly string[], resolve: Resolve, options: LookupOptions = { all: true }) =>
    new Promise<string | LookupAddress[]>((done, fail) =>
      guardedLookup(allow, resolve)('hook.example.com', options, (error, address) =>
        error === null ? done(address) : fail(error),
      ),
    );
  const answering =
    (...addresses: string[]): Resolve =>
    (_host, done) =>
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );

  test('gives only the permitted ones of several addresses', async () => {
    const resolve = answering('10.0.0.1', '8.8.8.8', '::1', '2606:4700::1');
    expect(await lookUp([], resolve)).toEqual([
      { address: '8.8.8.8', family: 4 },
      { address: '2606:4700::1', family: 6 },
    ]);
    expect(await lookUp([], resolve, {})).toBe('8.8.8.8');
  });

  test('fails when no address is permitted, when there is none, and when the resolver fails', async () => {
    await expect(lookUp([], answering('10.0.0.1', '::1'))).rejects.toThrow(AddressRefused);
    await expect(lookUp([], answering())).rejects.toThrow('hook.example.com has no address');
    await expect(lookUp([], (_host, done) => done(new Error('ENOTFOUND'), []))).rejects.toThrow('ENOTFOUND');
  });

  test('permits an allowed name whatever it resolves to', async () => {
    expect(await lookUp(['*.example.com'], answering('10.0.0.1'), {})).toBe('10.0.0.1');
  });
});
