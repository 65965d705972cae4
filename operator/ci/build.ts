/** What a message asks for where its task type is a CI type. Pure. */
import type { Problem } from '../../contract/message.ts';
import type { ClientConfig } from '../config-schema.ts';
import { type CiBuild, prefixOf, readCiBuild } from './payload.ts';
import type { CiConfig } from './settings-schema.ts';

/** The build, or what is wrong with the payload: each problem names its field. Nothing, where the type is another one. */
export type BuildReading =
  | { readonly kind: 'none' }
  | { readonly kind: 'valid'; readonly build: CiBuild }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

/** Reads it. `jobName` becomes the image's tag, so that no two tasks push to one. */
export function buildOf(
  ci: CiConfig | undefined,
  client: { readonly name: string; readonly settings: Pick<ClientConfig, 'imagePrefix'> | undefined },
  payload: unknown,
  jobName: string,
): BuildReading {
  if (ci === undefined) return { kind: 'none' };
  return readCiBuild(payload, prefixOf(ci.images, client.name, client.settings?.imagePrefix), jobName);
}

/** A build that asks for nothing in particular, for asking the API server whether it takes a type's Job. */
export function sampleBuild({ images }: Pick<CiConfig, 'images'>): CiBuild {
  const payload = { repository: 'https://git.example.com/dry-run.git', ref: 'main', test: { command: 'true' } };
  const reading = readCiBuild(payload, prefixOf(images, 'dry-run', undefined), 'dry-run');
  if (reading.kind === 'invalid') throw new Error(`the sample is not valid: ${JSON.stringify(reading.problems)}`);
  return reading.build;
}
