import { attempt } from '#/testing/shell.ts';

/** One vitest project, and what it needs. */
export interface Tier {
  readonly name: string;
  /** Why it cannot run here; undefined when it can. */
  readonly obstacle: () => Promise<string | undefined>;
}

const nothing = async () => undefined;

const engine = ['dockerd', 'docker', 'containerd', 'runc', 'skopeo', 'busybox', 'python3', 'npm'];
const node = ['openssl', 'gcc', 'nsenter', 'ip', 'nft', 'iptables'];

/** All tiers, the fast ones first: the projects of vitest.config.ts. */
export const tiers: readonly Tier[] = [
  { name: 'unit', obstacle: nothing },
  { name: 'model', obstacle: nothing },
  { name: 'mutants', obstacle: nothing },
  { name: 'integration', obstacle: nothing },
  { name: 'control-plane', obstacle: () => first(controlPlane) },
  { name: 'chaos', obstacle: () => first(controlPlane) },
  { name: 'images', obstacle: () => first([linux, root, ...commands(...engine)]) },
  { name: 'e2e', obstacle: () => first([linux, root, go, ...commands(...engine, ...node)]) },
];

type Check = () => Promise<string | undefined>;

/** `KUBECONFIG_TEST` stands for a control plane of one's own. */
const controlPlane: readonly Check[] = process.env['KUBECONFIG_TEST']
  ? commands('kubectl', 'helm')
  : [linux, go, ...commands('openssl', 'setsid')];

async function linux() {
  return process.platform === 'linux' ? undefined : `needs Linux, this is ${process.platform}`;
}

async function root() {
  return process.getuid?.() === 0 ? undefined : 'needs root';
}

async function go() {
  const found = await attempt('go', ['env', 'GOVERSION']).catch(() => undefined);
  const version = /^go(\d+)\.(\d+)/.exec(found?.stdout ?? '');
  if (version === null) return 'needs Go 1.26, which is not on PATH';
  const enough = Number(version[1]) > 1 || Number(version[2]) >= 26;
  return enough ? undefined : `needs Go 1.26, this is ${found?.stdout.trim()}`;
}

function commands(...names: readonly string[]): Check[] {
  return names.map((name) => async () => {
    const { code } = await attempt('sh', ['-c', `command -v ${name}`]);
    return code === 0 ? undefined : `needs ${name}, which is not on PATH`;
  });
}

async function first(checks: readonly Check[]): Promise<string | undefined> {
  for (const check of checks) {
    const obstacle = await check();
    if (obstacle !== undefined) return obstacle;
  }
  return undefined;
}
