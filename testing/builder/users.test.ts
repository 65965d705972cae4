import { expect, test } from 'vitest';
import { ownerOf, runnerOf } from './users.ts';

const ACCOUNTS = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\napp:x:100:200:app:/home/app:/bin/sh\n',
  group: 'root:x:0:\nstaff:x:300:app\n',
};

test('an owner by names and by numbers', () => {
  expect(ownerOf('app', ACCOUNTS)).toEqual({ uid: 100, gid: 100 });
  expect(ownerOf('app:staff', ACCOUNTS)).toEqual({ uid: 100, gid: 300 });
  expect(ownerOf('7:8', ACCOUNTS)).toEqual({ uid: 7, gid: 8 });
  expect(() => ownerOf('nobody', ACCOUNTS)).toThrow('user nobody is not a uid and does not exist');
  expect(() => ownerOf('app:none', ACCOUNTS)).toThrow('group none is not a gid and does not exist');
});

test('who runs has the group of the account, whatever group USER names', () => {
  expect(runnerOf('', ACCOUNTS)).toEqual({ uid: 0, gid: 0, home: '/root' });
  expect(runnerOf('app:staff', ACCOUNTS)).toEqual({ uid: 100, gid: 200, home: '/home/app' });
  expect(runnerOf('7:8', ACCOUNTS)).toEqual({ uid: 7, gid: 7, home: '/' });
});
