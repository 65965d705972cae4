/** Jobs and pods as JSON in the API server's shape, as far as the local store acts on them. They are never changed in place. */
import type { V1Job } from '@kubernetes/client-node';
import { z } from 'zod';
import { iso } from '../../lib/clock.ts';
import { ServiceError } from '../../lib/errors.ts';

const dnsLabel = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be a lower-case DNS label');
const annotations = z.record(z.string(), z.string()).default({});
const labels = z
  .record(
    z.string(),
    z.string().regex(/^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/, 'must be a valid label value'),
  )
  .default({});

const keyRef = z.looseObject({ name: z.string(), key: z.string(), optional: z.boolean().default(false) });
const sourceRef = z.looseObject({ name: z.string(), optional: z.boolean().default(false) });
const envVarSchema = z.looseObject({
  name: z.string().min(1),
  value: z.string().default(''),
  valueFrom: z
    .looseObject({
      fieldRef: z.looseObject({ fieldPath: z.string() }).exactOptional(),
      secretKeyRef: keyRef.exactOptional(),
      configMapKeyRef: keyRef.exactOptional(),
    })
    .exactOptional(),
});
const envFromSchema = z.looseObject({
  prefix: z.string().default(''),
  secretRef: sourceRef.exactOptional(),
  configMapRef: sourceRef.exactOptional(),
});
const containerSchema = z.looseObject({
  name: dnsLabel,
  image: z.string().min(1),
  command: z.array(z.string()).default([]),
  args: z.array(z.string()).default([]),
  env: z.array(envVarSchema).default([]),
  envFrom: z.array(envFromSchema).default([]),
});
const failureRuleSchema = z.looseObject({
  action: z.enum(['Ignore', 'FailJob', 'Count']),
  onExitCodes: z
    .looseObject({
      containerName: z.string().exactOptional(),
      operator: z.enum(['In', 'NotIn']),
      values: z.array(z.number().int()),
    })
    .exactOptional(),
  onPodConditions: z.array(z.looseObject({ type: z.string(), status: z.string().default('True') })).exactOptional(),
});
const seconds = z.number().int().min(0);
const podSpecSchema = z.looseObject({
  restartPolicy: z.literal('Never', 'must be Never: the local store starts no container twice'),
  activeDeadlineSeconds: seconds.min(1).exactOptional(),
  terminationGracePeriodSeconds: seconds.default(30),
  initContainers: z.array(z.unknown()).max(0, 'are not run by the local store').exactOptional(),
  containers: z.tuple([containerSchema], 'must be exactly one: the local store runs pods of one container'),
});
const jobSchema = z.looseObject({
  apiVersion: z.literal('batch/v1'),
  kind: z.literal('Job'),
  metadata: z.looseObject({ name: dnsLabel, namespace: dnsLabel.default('default'), labels, annotations }),
  spec: z.looseObject({
    completions: z.literal(1).default(1),
    parallelism: z.number().int().min(0).max(1).default(1),
    suspend: z.boolean().default(false),
    managedBy: z.string().exactOptional(),
    backoffLimit: z.number().int().min(0).default(6),
    activeDeadlineSeconds: seconds.exactOptional(),
    ttlSecondsAfterFinished: seconds.exactOptional(),
    podFailurePolicy: z.looseObject({ rules: z.array(failureRuleSchema) }).default({ rules: [] }),
    template: z.looseObject({
      metadata: z.looseObject({ labels, annotations }).default({ labels: {}, annotations: {} }),
      spec: podSpecSchema,
    }),
  }),
});

/** A Job as asked for, with the API server's defaults filled in. */
export type RequestedJob = z.output<typeof jobSchema>;
type PodSpec = RequestedJob['spec']['template']['spec'];
/** A container of a pod's spec. */
export type Container = PodSpec['containers'][number];

/** What the server adds to an object's metadata. */
export interface ServerMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  /** When it is to be gone at the latest, once it is deleted. */
  readonly deletionTimestamp?: string;
}

/** An entry of `status.conditions`. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

/** A Job as the server keeps it. */
export type LocalJob = RequestedJob & {
  readonly metadata: ServerMeta;
  readonly status: {
    readonly startTime?: string;
    readonly completionTime?: string;
    readonly active?: number;
    readonly succeeded?: number;
    readonly failed?: number;
    readonly conditions?: Condition[];
  };
};

/** `state` of a container's status. */
export type ContainerState =
  | { readonly waiting: { readonly reason: string; readonly message: string } }
  | { readonly running: { readonly startedAt: string } }
  | {
      readonly terminated: {
        readonly exitCode: number;
        readonly reason: string;
        readonly message: string;
        /** Null where the kubelet does not know it. */
        readonly startedAt: string | null;
        readonly finishedAt: string | null;
      };
    };

/** A pod as the server keeps it. */
export interface LocalPod {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: ServerMeta & {
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  };
  readonly spec: PodSpec;
  readonly status: {
    readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
    readonly reason?: string;
    readonly message?: string;
    /** Not there as long as the pod has no node. */
    readonly startTime?: string;
    readonly conditions: Condition[];
    /** Empty as long as the pod has no node. */
    readonly containerStatuses: { readonly name: string; readonly state: ContainerState }[];
  };
}

/** Reads a Job to be stored; throws `invalid`, as the API server does, when it would not be taken. */
export function requestedJob(job: Pick<V1Job, 'metadata'> | LocalJob): RequestedJob {
  const parsed = jobSchema.safeParse(JSON.parse(JSON.stringify(job)));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`);
  throw new ServiceError('invalid', 'Invalid', `Job "${job.metadata?.name}" is invalid: ${faults.join('; ')}`);
}

/** A moment as Kubernetes writes it: whole seconds. */
export function timestamp(ms: number): string {
  return iso(ms).replace(/\.\d+Z$/, 'Z');
}
