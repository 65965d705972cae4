import { describe, expect, test } from 'vitest';
import { allowEntryProblem, allowsAddress, allowsHost, parseAddress } from './allow-list.ts';

describe('allowEntryProblem', () => {
  test.each([
    'backend',
    'backend.prod.svc.cluster.local',
    'Backend.Example.COM',
    '*.example.com',
    'my_service',
    'münchen.de',
    '10.0.0.7',
    '10.0.0.0/8',
    'fd00::7',
    '[fd00::7]',
    'fd00::/8',
    'example.com.',
  ])('accepts %s', (entry) => expect(allowEntryProblem(entry)).toBeUndefined());
  test.each([
    '',
    ' ',
    '*',
    '*.',
    '**.example.com',
    'a.*.com',
    'http://backend',
    'backend:8080',
    'backend/path',
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.256',
    '1.2.3',
    '0x7f.1',
    'a b',
    '-a',
    'fd00::/129',
  ])('refuses %j', (entry) => expect(allowEntryProblem(entry)).toMatch(/neither a host name/));
});

describe('allowsHost', () => {
  test.each([
    ['backend.prod.svc', 'backend.prod.svc', true],
    ['Backend.Prod.SVC', 'backend.prod.svc', true],
    ['backend.prod.svc', 'backend.prod.svc.', true],
    ['backend.prod.svc.', 'backend.prod.svc', true],
    ['backend.prod.svc', 'evil-backend.prod.svc', false],
    ['backend.prod.svc', 'a.backend.prod.svc', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'evilexample.com', false],
    ['*.example.com', 'example.com.evil.net', false],
    ['*', 'anything', false],
    ['', '', false],
  ])('%j and %s: %s', (entry, host, expected) => {
    expect(allowsHost([entry], host)).toBe(expected);
  });
});

describe('allowsAddress', () => {
  test.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.7', '10.0.0.7', true],
    ['10.0.0.7', '10.0.0.8', false],
    ['10.0.0.7', '::ffff:10.0.0.7', true],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::1', 'fd00:0::1', true],
    ['::/0', '10.0.0.1', false],
    ['0.0.0.0/0', 'fd00::1', false],
    ['0.0.0.0/0', '127.0.0.1', true],
    ['localhost', '127.0.0.1', false],
  ])('%j and %s: %s', (entry, text, expected) => {
    const address = parseAddress(text);
    expect(address !== undefined && allowsAddress([entry], address)).toBe(expected);
  });
});
