/** The statuses that a real kubelet gives to pods, one per behaviour: recorded by cluster/record-pod-status.ts, replayed by kwok.ts. */
import { readFileSync } from 'node:fs';

/** What a pod was seen to do. Each has a file golden/pod-status/NAME.json. */
export const behaviours = [
  'running',
  'completed-owed',
  'completed-delivered',
  'completed-foreign',
  'failed',
  'failed-foreign',
  'timeout',
  'permanent',
  'oom',
  'deadline',
  'evicted',
  'storage-evicted',
  'image-missing',
  'image-name-invalid',
  'config-missing',
  'root-refused',
  'command-missing',
  'unschedulable',
] as const;

/** One of {@link behaviours}. */
export type Behaviour = (typeof behaviours)[number];

/** And of pods with the containers of a CI task. */
export const ciBehaviours = ['ci-running', 'ci-passed', 'ci-tests-failed', 'ci-build-failed'] as const;

/** What their containers say they have cloned. */
export const CI_COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** One of {@link ciBehaviours}. */
export type CiBehaviour = (typeof ciBehaviours)[number];

/** The part of a pod's status that tests look into; the files hold all of it. */
export interface PodStatus {
  readonly phase: string;
  readonly [key: string]: unknown;
}

/** What stands in the files for everything that differs from run to run. */
export const fixed = {
  time: '2026-01-01T00:00:00Z',
  uid: '00000000-0000-0000-0000-000000000000',
  hostIP: '10.255.0.1',
  podIP: '10.244.0.2',
  image: 'registry.example/worker:1',
  imageID: 'registry.example/worker@sha256:0000000000000000000000000000000000000000000000000000000000000000',
  containerID: 'containerd://0000000000000000000000000000000000000000000000000000000000000000',
} as const;

/** Where a behaviour's status is kept. */
export const statusFile = (behaviour: Behaviour | CiBehaviour): URL =>
  new URL(`./golden/pod-status/${behaviour}.json`, import.meta.url);

/** The recorded status of a behaviour. */
export function podStatus(behaviour: Behaviour | CiBehaviour): PodStatus {
  return JSON.parse(readFileSync(statusFile(behaviour), 'utf8')) as PodStatus;
}
