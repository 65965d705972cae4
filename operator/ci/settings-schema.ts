/** The configuration of a task type whose tasks clone a repository, build its image and test it: taskTypes.*.ci. */
import { z } from 'zod';
import { flagName, KANIKO_VERSION, REFUSED_FLAGS } from '../../kaniko/flags.ts';
import { dnsName, envFromSchema, envSchema, image, quantity, seconds } from '../config-fields.ts';
import { IMAGE } from './payload.ts';

const imageRepository = z.string().regex(IMAGE, {
  error: 'must be a registry and a repository in it, without tag and digest, such as "registry.example.com/ci"',
});
const namespace = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
  error: 'must be the name of a namespace: lower-case letters, digits and "-"',
});

const CAPABILITY = 'must be a capability without CAP_, such as "CHOWN"';
/**
 * What unpacking layers, and a RUN that changes owners or users, needs. SETFCAP: for files with capabilities. FSETID: setgid bits would be lost
 * without a word. KILL: the executor ends what a RUN leaves behind, also as another user. All are within Pod Security baseline.
 */
const BUILDER_CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETFCAP', 'SETGID', 'SETUID'];

const builderSchema = z
  .strictObject({
    image: image
      .default(`ghcr.io/osscontainertools/kaniko:${KANIKO_VERSION}`)
      .describe("Image of the builder: Kaniko's executor, or another that takes its arguments."),
    flags: z
      .array(
        z
          .string()
          .regex(/^--[A-Za-z0-9]/, { error: 'must be a flag such as "--reproducible"' })
          .superRefine((flag, context) => {
            const why = REFUSED_FLAGS.get(flagName(flag));
            if (why !== undefined) context.addIssue(why);
          }),
      )
      .default([])
      .describe(
        'Further arguments of the builder. None that says what is built or where it goes: that is for the message and other settings.',
      ),
    cache: imageRepository
      .optional()
      .describe(
        'Repository for layers that may be used again by all tasks of the type. Without it every layer is built.',
      ),
    insecureRegistries: z
      .array(
        z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$/, {
          error:
            'must be HOST:PORT or HOST as it stands in an image\'s name, without "http://" and "/", such as "registry:5000"',
        }),
      )
      .default([])
      .describe('Registries (HOST:PORT, or HOST) that speak plain HTTP, such as one in the cluster.'),
    capabilities: z
      .array(
        z
          .string()
          .regex(/^[A-Z_]+$/, { error: CAPABILITY })
          .refine((name) => !name.startsWith('CAP_'), { error: CAPABILITY }),
      )
      .default(BUILDER_CAPABILITIES)
      .describe(
        'Capabilities that the builder keeps; it runs as root, without privilege. The default is what Kaniko needs.',
      ),
    workloadIdentity: z
      .boolean()
      .default(false)
      .describe(
        "The builder, and no other container, gets a token of AKS workload identity for the pod's service account, by which it pushes to ACR without a password.",
      ),
    timeoutSeconds: seconds(1, 604_800).default(1800).describe('How long clone and build may take together.'),
    resources: z
      .strictObject({
        cpu: quantity.default('1').describe('CPU request of clone and build.'),
        memory: quantity
          .default('4Gi')
          .describe('Memory request and limit of clone and build: the builder holds whole layers.'),
        ephemeralStorage: quantity
          .default('20Gi')
          .describe(
            'Limit for the repository, the layers and logs: a pod that fills the disk is put out, not its neighbours.',
          ),
      })
      .prefault({})
      .describe('What clone and build get.'),
  })
  .prefault({})
  .describe('What builds the image.');

const testSchema = z
  .strictObject({
    user: z
      .union([z.literal('image'), z.number().int().min(0).max(2_147_483_647)], {
        error: 'must be image, or the number of a user',
      })
      .default('image')
      .describe(
        "Whose user the tests run as: the image's own, or that of this number. In either case without any capability.",
      ),
    retry: z
      .boolean()
      .default(false)
      .describe(
        'Tests that fail are run again while there are attempts, from the clone on. Otherwise they are a result like any other.',
      ),
  })
  .prefault({})
  .describe('How the image is tested. What the tests get is resources and timeoutSeconds of the type, and its env.');

export const ciSchema = z
  .strictObject({
    images: imageRepository.describe(
      "Registry and path of the images that are built: IMAGES/CLIENT/REPOSITORY, tagged with the Job's name. A client's imagePrefix takes the place of IMAGES/CLIENT. On Docker Hub, whose accounts have no folders, it is docker.io/ACCOUNT/CLIENT__REPOSITORY.",
    ),
    namespace: namespace
      .optional()
      .describe(
        "Namespace of the type's Jobs and of the Secrets they name. It must admit Pod Security baseline: the builder is root. Default: the operator's.",
      ),
    registrySecret: dnsName
      .optional()
      .describe('Secret of type kubernetes.io/dockerconfigjson by which images are pushed and pulled.'),
    gitSecret: dnsName
      .optional()
      .describe('Secret with the keys username and password (or a token) for private repositories.'),
    gitHosts: z
      .array(
        z.string().regex(/^(https?:\/\/)?[a-z0-9.-]+(:\d+)?$/, {
          error:
            'must be a host such as "github.com" or "git.example.com:8443"; http only where it is said: "http://10.0.0.7"',
        }),
      )
      .default([])
      .describe('Hosts that gitSecret is for. It is sent to no other, whatever a message or a submodule names.'),
    gitImage: image.default('docker.io/alpine/git:v2.49.1').describe('Image that clones: with git and a shell.'),
    builder: builderSchema,
    test: testSchema,
    report: z
      .strictObject({
        env: z
          .array(envSchema)
          .default([])
          .describe(
            'Environment of the sidecar that stores reports and artifacts, such as AZURE_STORAGE_CONNECTION_STRING.',
          ),
        envFrom: z.array(envFromSchema).default([]).describe('Secrets or ConfigMaps whose keys it gets.'),
      })
      .prefault({})
      .describe('The sidecar that collects reports and artifacts.'),
  })
  .superRefine(({ gitSecret, gitHosts }, context) => {
    if (gitSecret !== undefined && gitHosts.length === 0)
      context.addIssue({
        code: 'custom',
        path: ['gitSecret'],
        message: 'has no gitHosts. Name the hosts that it may be sent to, such as gitHosts: [github.com]',
      });
    if (gitSecret === undefined && gitHosts.length > 0)
      context.addIssue({
        code: 'custom',
        path: ['gitHosts'],
        message: 'have no gitSecret that could be sent to them. Name the Secret, or remove gitHosts',
      });
  })
  .describe(
    'Makes the tasks of this type CI tasks: a repository is cloned, its image built and pushed, and its tests run in it. docs/ci-tasks.md',
  );

/** `taskTypes.*.ci`, defaults filled in. */
export type CiConfig = z.output<typeof ciSchema>;
