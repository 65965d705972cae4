/**
 * The moments between two effects. The operator calls `checkpoint` at each; in production it does nothing. Tests stop the process there, to
 * prove that a crash between any two steps repeats one and loses none.
 */
export const CHECKPOINTS = [
  'received',
  'created',
  'started',
  'adopted',
  'receipt-patched',
  'ended',
  'pod-removed',
  'recorded',
  'poisoned',
  'deleted',
  'webhook-sent',
  'settled',
] as const;
export type CheckpointName = (typeof CHECKPOINTS)[number];

/** Those of a task on Azure Container Instances, between `created` and `recorded`. */
export const ACI_CHECKPOINTS = ['claimed', 'put', 'heard', 'status-written', 'group-removed'] as const;
export type AciCheckpointName = (typeof ACI_CHECKPOINTS)[number];

/** Called after the effect that the name tells, before the next one. */
export type Checkpoint = (name: CheckpointName | AciCheckpointName, jobOrMessage: string) => Promise<void>;

/** Production's checkpoint. */
export const noCheckpoint: Checkpoint = async () => undefined;
