/** `slipway doctor`. */
import type { Command } from 'commander';
import { EXIT } from '../contract/runner-abi.ts';
import { createLazyGroupsIn } from '../operator/aci/lazy-groups.ts';
import type { InvalidAccess, StorageAccess } from '../queue/access.ts';
import type { QueueInspector } from '../queue/inspect.ts';
import type { Cluster, ClusterOptions } from './cluster.ts';
import { examine } from './doctor/doctor.ts';
import { countLine, findingLines } from './doctor/finding.ts';
import type { Output } from './output.ts';

/** What the command works with. */
export interface DoctorSurroundings extends Output {
  openCluster(options: ClusterOptions): Cluster | { readonly problem: string };
  /** The storage account of the environment; it is not called. */
  storageAccess(): StorageAccess | InvalidAccess;
  inspectQueues(access: StorageAccess): QueueInspector;
}

interface Options extends ClusterOptions {
  readonly self?: boolean;
  readonly fromSecret?: boolean;
  readonly json?: boolean;
}

/** Adds `doctor`. */
export function addDoctorCommand(
  program: Command,
  surroundings: DoctorSurroundings,
  version: string,
  exit: (code: number) => void,
): void {
  program
    .command('doctor')
    .description('Checks an installation: cluster, rights, Secrets, queues, clocks. Changes nothing.')
    .option('-n, --namespace <name>', "the installation's namespace; without it that of the kubeconfig's context")
    .option('--context <name>', 'another context of the kubeconfig')
    .option('--self', "check the rights of whoever asks, in place of those of the operator's service account")
    .option('--from-secret', "take the storage credentials from the installation's Secret, not from the environment")
    .option('--json', 'one JSON array')
    .addHelpText(
      'after',
      `
One line for each check: OK; PROBLEM, with the command that mends it; UNKNOWN, with what kept it from being found out.
The storage account is that of AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_URL, unless --from-secret is given.
No message is received and no queue made; values of Secrets are never shown.

Examples:
  slipway doctor -n slipway --from-secret
  slipway doctor -n slipway --json | jq -r '.[] | select(.state == "PROBLEM") | .command'

Exit codes: 0 no problem, 1 a problem, 2 wrong usage.`,
    )
    .action(async (options: Options) => {
      const { clock, out } = surroundings;
      const findings = await examine(
        {
          cluster: surroundings.openCluster(options),
          environment: surroundings.storageAccess(),
          inspect: (access) => surroundings.inspectQueues(access),
          groupsIn: (resourceGroup, endpoint) => createLazyGroupsIn(() => endpoint, clock)(resourceGroup),
          clock,
          version,
        },
        { self: options.self === true, fromSecret: options.fromSecret === true },
      );
      if (options.json === true) out(`${JSON.stringify(findings, null, 2)}\n`);
      else out(`${findingLines(findings, surroundings).join('\n')}\n\n${countLine(findings)}\n`);
      exit(findings.some(({ state }) => state === 'PROBLEM') ? EXIT.failed : EXIT.done);
    });
}
