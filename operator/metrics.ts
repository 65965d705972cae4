/** Every metric the operator exports, with its help. Nobody else makes one. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** The operator's metrics. */
export type Metrics = ReturnType<typeof createMetrics>;

const LATENCY = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const DURATION = [1, 5, 15, 60, 300, 900, 1800, 3600, 14_400];

/** Metrics in a registry of their own. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name, help, labelNames, registers });
  return {
    registry,
    received: counter('slipway_messages_received_total', 'Messages received, redeliveries included.', 'queue'),
    created: counter('slipway_jobs_created_total', 'Jobs created.', 'client', 'type'),
    adopted: counter('slipway_messages_adopted_total', 'Redelivered messages whose Job was found.', 'queue'),
    settled: counter(
      'slipway_tasks_settled_total',
      'Tasks settled, by how they ended.',
      'client',
      'type',
      'status',
      'category',
    ),
    vcpuSeconds: counter(
      'slipway_task_vcpu_seconds_total',
      'vCPU-seconds of settled tasks, all attempts.',
      'client',
      'type',
    ),
    gibSeconds: counter(
      'slipway_task_memory_gib_seconds_total',
      'GiB-seconds of memory of settled tasks, all attempts.',
      'client',
      'type',
    ),
    cost: counter('slipway_task_cost_total', 'Cost of settled tasks at the configured prices.', 'client', 'type'),
    poisoned: counter(
      'slipway_messages_poisoned_total',
      'Copies put into poison queues, by reason.',
      'queue',
      'category',
    ),
    leasesLost: counter('slipway_leases_lost_total', 'Leases lost while their Job was live.', 'queue'),
    renewals: counter('slipway_lease_renewals_total', 'Lease renewals, by result (renewed, lost, failed).', 'result'),
    webhooks: counter(
      'slipway_webhook_tries_total',
      'Webhooks tried by the operator, by result (delivered, refused, retry, given-up).',
      'result',
    ),
    queueErrors: counter(
      'slipway_queue_errors_total',
      'Failed calls to receive, by queue and kind of error.',
      'queue',
      'kind',
    ),
    deliveryErrors: counter(
      'slipway_delivery_errors_total',
      'Failed tries to bring a received message to its Job or to the poison queue, by kind of error.',
      'queue',
      'kind',
    ),
    lastReceive: gauge(
      'slipway_queue_last_success_timestamp_seconds',
      'When the queue last answered, in seconds since the epoch.',
      'queue',
    ),
    running: gauge('slipway_jobs_running', 'Unfinished, unsuspended Jobs as observed.'),
    held: gauge('slipway_jobs_held', 'Suspended Jobs that wait for their task type to have room, by queue.', 'queue'),
    groups: gauge('slipway_aci_groups', 'Container groups that are there, or may be, as the Jobs tell.'),
    awaitingGroups: gauge(
      'slipway_aci_jobs_waiting',
      "Jobs on Azure Container Instances that wait for their turn, by Azure's limits.",
    ),
    receiving: gauge('slipway_queue_receiving', '1 for a queue that is received from, 0 while it is paused.', 'queue'),
    unsettled: gauge('slipway_jobs_unsettled', 'Jobs that are not settled yet, running ones included.'),
    leading: gauge('slipway_leading', '1 for the replica that works, 0 for one that stands by.'),
    viewKnown: gauge(
      'slipway_view_known',
      '1 while the picture of the Jobs can be trusted, 0 while nothing may be received.',
    ),
    configRefused: gauge(
      'slipway_config_refused',
      '1 while the mounted configuration is broken and the one before it is in force.',
    ),
    typePaused: gauge(
      'slipway_task_type_paused',
      '1 for a task type that is paused because the API server refuses its Job.',
      'type',
    ),
    enqueueToJob: new Histogram({
      name: 'slipway_enqueue_to_job_seconds',
      help: 'Time from the message being put into the queue to its Job being created, first deliveries only.',
      labelNames: ['queue'] as const,
      buckets: LATENCY,
      registers,
    }),
    taskDuration: new Histogram({
      name: 'slipway_task_duration_seconds',
      help: "Time from the first start of a task's container to the end of its Job.",
      labelNames: ['client', 'type', 'status'] as const,
      buckets: DURATION,
      registers,
    }),
  };
}
