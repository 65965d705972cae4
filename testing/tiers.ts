import { postgresDirectory } from '#/testing/postgres.ts';
import { attempt } from '#/testing/shell.ts';

/** One vitest project, and what it needs. */
export interface Tier {
  readonly name: string;
  /** Why it cannot run here; undefined when it can. */
  readonly obstacle: () => Promise<string | undefined>;
  /** The tier beside which it runs, at low priority: this one keeps the cores busy, and that one waits for most of its time. */
  readonly beside?: string;
  /** Needs what costs money and belongs to somebody: nothing is missing where it does not run, and it is named all the same. */
  readonly optIn?: boolean;
}

const nothing = async () => undefined;

const engine = ['dockerd', 'docker', 'containerd', 'runc', 'skopeo', 'busybox', 'python3', 'npm'];
const node = ['openssl', 'gcc', 'nsenter', 'ip', 'nft', 'iptables'];

/** All tiers, the fast ones first: the projects of vitest.config.ts. */
export const tiers: readonly Tier[] = [
  { name: 'unit', obstacle: nothing },
  { name: 'model', obstacle: nothing, beside: 'e2e' },
  { name: 'mutants', obstacle: nothing, beside: 'e2e' },
  { name: 'integration', obstacle: () => first([postgres, ...commands('ruby', 'git', 'git-lfs')]) },
  { name: 'control-plane', obstacle: () => first([...controlPlane, ...commands('curl', 'jq')]) },
  { name: 'chaos', obstacle: () => first(controlPlane) },
  { name: 'containers', obstacle: () => first([linux, root, ...commands(...engine, 'debootstrap')]) },
  { name: 'images', obstacle: () => first([linux, root, go, ...commands(...engine, 'git', 'curl', 'jq')]) },
  { name: 'live', optIn: true, obstacle: async () => liveObstacle(process.env) },
  { name: 'e2e', obstacle: () => first([linux, root, go, ...commands(...engine, ...node, 'jq')]) },
];

/** The services that can be tried, each by the variables that say where. A test of a service that is not named is skipped. */
export const LIVE = {
  Azure: ['SLIPWAY_AZURE_SUBSCRIPTION', 'SLIPWAY_AZURE_RESOURCE_GROUP', 'SLIPWAY_AZURE_LOCATION'],
  OpenAI: ['SLIPWAY_LIVE_OPENAI_KEY'],
  Supabase: ['SLIPWAY_LIVE_SUPABASE_URL', 'SLIPWAY_LIVE_SUPABASE_KEY'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** Whether the environment says where a service is. */
export function isLive(service: keyof typeof LIVE, env: NodeJS.ProcessEnv): boolean {
  return LIVE[service].every((name) => env[name] !== undefined);
}

function liveObstacle(env: NodeJS.ProcessEnv): string | undefined {
  const services = Object.keys(LIVE) as (keyof typeof LIVE)[];
  if (services.some((service) => isLive(service, env))) return undefined;
  return services.map((service) => `${service}: set ${LIVE[service].join(', ')}`).join('; ');
}

type Check = () => Promise<string | undefined>;

/** `KUBECONFIG_TEST` stands for a control plane of one's own. */
const controlPlane: readonly Check[] = process.env['KUBECONFIG_TEST']
  ? commands('kubectl', 'helm')
  : [linux, go, ...commands('openssl', 'setsid')];

async function postgres() {
  return (await postgresDirectory()) === undefined ? 'needs PostgreSQL under /usr/lib/postgresql' : undefined;
}

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
