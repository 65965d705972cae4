/** Settings that stand in several places of the configuration, each with what is wrong with a wrong one. */
import { z } from 'zod';
import { RUNNER_ENV } from '../contract/runner-abi.ts';

export const seconds = (min: number, max: number) => z.number().int().min(min).max(max);
export const dnsName = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
  error: 'must be the name of a Kubernetes object: lower-case letters, digits, "-" and "."',
});
export const quantity = z.string().regex(/^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/, {
  error: 'must be a Kubernetes quantity such as "500m", "1" or "2Gi" (quote numbers)',
});
export const image = z
  .string()
  .min(1)
  .regex(/^[^\s]+$/, {
    error: 'must be an image reference such as registry.example.com/slipway-runner:1.0.0, without blanks',
  });
export const secretKey = z.strictObject({
  name: dnsName.describe('Name of the Secret.'),
  key: z.string().min(1).describe('Key in the Secret.'),
});
const configMapKey = z.strictObject({
  name: dnsName.describe('Name of the ConfigMap.'),
  key: z.string().min(1).describe('Key in the ConfigMap.'),
});

const envName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'must be the name of an environment variable' })
  .refine((name) => !Object.values<string>(RUNNER_ENV).includes(name), {
    error: 'is set by Slipway for every task. Choose another name',
  });

export const envSchema = z
  .strictObject({
    name: envName.describe('Name of the variable.'),
    value: z.string().optional().describe('Literal value. Never a secret: it stands in the Job.'),
    valueFrom: z
      .strictObject({
        secretKeyRef: secretKey.optional().describe('Key of a Secret.'),
        configMapKeyRef: configMapKey.optional().describe('Key of a ConfigMap.'),
      })
      .refine((from) => (from.secretKeyRef === undefined) !== (from.configMapKeyRef === undefined), {
        error: 'must have either secretKeyRef or configMapKeyRef',
      })
      .optional()
      .describe('Reference to a key of a Secret or ConfigMap.'),
  })
  .refine((env) => (env.value === undefined) !== (env.valueFrom === undefined), {
    error: 'must have either value or valueFrom',
  });

export const envFromSchema = z
  .strictObject({
    prefix: z.string().optional().describe('Put before the name of every key.'),
    secretRef: z
      .strictObject({ name: dnsName.describe('Name of the Secret.') })
      .optional()
      .describe('Secret with the variables.'),
    configMapRef: z
      .strictObject({ name: dnsName.describe('Name of the ConfigMap.') })
      .optional()
      .describe('ConfigMap with the variables.'),
  })
  .refine((from) => (from.secretRef === undefined) !== (from.configMapRef === undefined), {
    error: 'must have either secretRef or configMapRef',
  });
