/** Users and groups by the image's /etc/passwd and /etc/group. Pure. */

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The two files. */
export interface Accounts {
  readonly passwd: string;
  readonly group: string;
}

/** Of `USER` or `--chown`. As in Kaniko a user without a group has the one of the same number. Throws where there is no such name. */
export function ownerOf(text: string, { passwd, group }: Accounts): Owner {
  const [user = '', groupName = ''] = text.split(':');
  const uid = field(passwd, user, 2) ?? number(user);
  if (uid === undefined) throw new Error(`user ${user} is not a uid and does not exist on the system`);
  if (groupName === '') return { uid, gid: uid };
  const gid = field(group, groupName, 2) ?? number(groupName);
  if (gid === undefined) throw new Error(`group ${groupName} is not a gid and does not exist on the system`);
  return { uid, gid };
}

/** Who a RUN is: of USER, only the user counts, and its group is that of its account. */
export function runnerOf(text: string, accounts: Accounts): Owner & { readonly home: string } {
  const user = text.split(':')[0] ?? '';
  if (user === '') return { uid: 0, gid: 0, home: '/root' };
  const { uid, gid } = ownerOf(user, accounts);
  const account = accounts.passwd
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[2] === String(uid));
  return { uid, gid: number(account?.[3] ?? '') ?? gid, home: uid === 0 ? '/root' : account?.[5] || '/' };
}

function field(file: string, name: string, index: number): number | undefined {
  const line = file.split('\n').find((one) => one.startsWith(`${name}:`));
  return number(line?.split(':')[index] ?? '');
}

function number(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}
