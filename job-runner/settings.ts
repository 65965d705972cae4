/** The runner's configuration, as config.ts reads it. Types alone. */
import type { Encoding } from '../contract/message.ts';
import type { Rate } from '../contract/usage.ts';
import type { WebhookFormat } from '../contract/webhook.ts';
import type { Secret } from '../lib/secret.ts';
import type { StorageAccess } from '../queue/access.ts';

/** What handlers may need. */
export interface RunnerSettings {
  /** Undefined when no storage account is configured: then there are no documents and no place for results. */
  readonly storage: Secret | undefined;
  /** Container for results. */
  readonly resultContainer: string;
  readonly maxDocumentBytes: number;
  /** Hosts besides Azure's that a document's URL may name. */
  readonly documentHosts: readonly string[];
  /** Settings of later stages; undefined when they are not set. */
  readonly openAi: OpenAiSettings | undefined;
  readonly supabase: SupabaseSettings | undefined;
}

/** A service that speaks OpenAI's Responses API. */
export interface OpenAiSettings {
  readonly key: Secret;
  /** Undefined: OpenAI's own. */
  readonly baseUrl: string | undefined;
  readonly model: string;
  /** Tokens that the model takes, its answer included. */
  readonly contextTokens: number;
  readonly maxOutputTokens: number;
  /** Pieces of a document, at most. */
  readonly maxPieces: number;
  /** Milliseconds for an answer. */
  readonly timeoutMs: number;
  /** US dollars for a million tokens. */
  readonly prices: { readonly input: number; readonly output: number } | undefined;
}

/** A Supabase project, or a PostgREST of one's own. */
export interface SupabaseSettings {
  readonly url: string;
  readonly key: Secret;
  readonly schema: string;
}

/** What both modes have. */
interface CommonConfig {
  readonly clientId: string;
  readonly pod: string | undefined;
  readonly timeoutMs: number;
  readonly maxAttempts: number;
  readonly webhook: {
    readonly format: WebhookFormat;
    readonly allow: readonly string[];
    readonly secrets: readonly Secret[];
  };
  /** What a second of a task takes. */
  readonly rate: Rate | undefined;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Paths of modules with handlers of one's own. */
  readonly handlers: readonly string[];
  readonly settings: RunnerSettings;
}

/** The configuration of a process that polls queues. */
export interface PollingConfig extends CommonConfig {
  readonly mode: 'polling';
  readonly access: StorageAccess;
  readonly queues: readonly string[];
  readonly encoding: Encoding;
  readonly concurrency: number;
  /** Milliseconds between two looks at queues that are empty. */
  readonly idle: { readonly shortestMs: number; readonly longestMs: number };
  /** Milliseconds that tasks may go on when the process is told to stop. */
  readonly stopWithinMs: number;
}

/** The configuration of the sidecar of a CI task. */
export interface SidecarConfig extends CommonConfig {
  readonly mode: 'sidecar';
  readonly taskId: string;
  /** The folder that tests are given for what is to be kept. */
  readonly directory: string;
  readonly wanted: { readonly artifacts: readonly string[]; readonly junit: readonly string[] };
  /** Milliseconds from SIGTERM on. */
  readonly withinMs: number;
  /** What is wrong with the other variables, a sentence each. Where there is any, nothing is stored: they may say where. */
  readonly problems: readonly string[];
  readonly terminationLog: string;
}

/** The configuration of a process that does one task. */
export interface TaskConfig extends CommonConfig {
  readonly mode: 'task';
  /** The message's JSON text. */
  readonly taskData: string;
  /** As the operator read them; '' when not set. What the message itself says goes first. */
  readonly taskId: string;
  readonly taskType: string;
  /** The part of `webhook-id` that both senders share; undefined when the operator gave none: derived from the task then. */
  readonly webhookId: string | undefined;
  readonly terminationLog: string;
}
