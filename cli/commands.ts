/** What a file of commands gets to register itself with. */
import type { QueueService } from '../queue/service.ts';
import type { Cluster, ClusterOptions } from './cluster.ts';
import type { ConfigSurroundings } from './config-command.ts';
import type { DoctorSurroundings } from './doctor-command.ts';
import type { ExplainSurroundings } from './explain-command.ts';
import type { Output } from './output.ts';

/** What the program works with. */
export interface Surroundings extends Output, ConfigSurroundings, ExplainSurroundings, DoctorSurroundings {
  /** Reaches the storage account, or says why it cannot and returns the exit code. */
  connect(): QueueService | number;
  /** The same without a word: undefined where the environment names no account. */
  connectIfNamed(): QueueService | undefined;
  /** Reaches the API server, or says why it cannot and returns the exit code. */
  connectCluster(options: ClusterOptions): Cluster | number;
}

/** Carries out a command's work; what it returns is the program's exit code. */
export type Run = (work: () => number | Promise<number>) => Promise<void>;
