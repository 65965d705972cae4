/** The rig's world, whose tasks run on the stand-in for Azure Container Instances. */
import { formatReport, type RunnerReport, reportLine } from '#/contract/runner-abi.ts';
import { createContainerGroups } from '#/operator/aci/groups.ts';
import { aciTerms } from '#/operator/aci/terms.ts';
import { type Behaviour, ORDINARY } from '#/testing/arm/life.ts';
import type { GroupBody } from '#/testing/arm/rules.ts';
import { clientFor } from '#/testing/arm/server.ts';
import { type ArmOptions, type ArmService, createArm } from '#/testing/arm/service.ts';
import { World } from '#/testing/rig.ts';

/** What a task does on ACI; stands in its message's payload. */
export interface GroupPlan extends Partial<Behaviour> {
  /** How the attempts end, one after another, and all further ones like the last. */
  readonly ends?: readonly Partial<Behaviour>[];
  /** Printed last, as our runner does. */
  readonly report?: Pick<RunnerReport, 'status' | 'webhook'> & Partial<RunnerReport>;
}

const ACI = `
backend: aci
aci:
  subscriptionId: 11111111-1111-4111-8111-111111111111
  resourceGroup: tasks
  location: westeurope
`;

export class AciWorld extends World {
  readonly arm: ArmService;
  readonly #puts = new Map<string, number>();

  private constructor(yaml: string, options: Partial<ArmOptions>) {
    super(`${yaml}${ACI}`);
    this.arm = createArm({ clock: this.clock, behaviour: this.#behaviour, ...options });
    const groups = createContainerGroups(clientFor(this.arm), 'tasks', 'task', this.clock);
    this.aci = {
      terms: () => aciTerms(this.config.file),
      groupsIn: () => groups,
      read: async () => undefined,
    };
  }

  /** Makes a world in which an operator runs. */
  static async running(yaml = 'taskTypes: { echo: {} }', options: Partial<ArmOptions> = {}): Promise<AciWorld> {
    const world = AciWorld.resting(yaml, options);
    await world.start();
    return world;
  }

  /** Makes a world without an operator. */
  static resting(yaml = 'taskTypes: { echo: {} }', options: Partial<ArmOptions> = {}): AciWorld {
    return new AciWorld(yaml, options);
  }

  /** Puts a task of type echo into the first queue. */
  send(id: string, plan: GroupPlan = {}, more: object = {}): void {
    this.queues.send('acme-tasks', { task_id: id, task_type: 'echo', payload: plan, ...more });
  }

  /** How often each Job's group was made to run, in the order of their names. */
  starts(): number[] {
    return [...new Set(this.arm.requests.filter(({ operation }) => operation === 'put').map(({ group }) => group))]
      .toSorted()
      .map((name) => this.arm.starts(name));
  }

  readonly #behaviour = (name: string, body: GroupBody): Behaviour => {
    const variables = body.properties.containers[0]?.properties.environmentVariables ?? [];
    const data = variables.find((one) => one.name === 'TASK_DATA');
    const { payload = {} } = JSON.parse(data?.secureValue ?? '{}') as { payload?: GroupPlan };
    const attempt = this.#puts.get(name) ?? 0;
    this.#puts.set(name, attempt + 1);
    const { ends = [], report, ...plan } = payload;
    const log = report === undefined ? {} : { log: reportLine(formatReport({ v: 1, ...report })) };
    return { ...ORDINARY, ...log, ...plan, ...ends[Math.min(attempt, ends.length - 1)] };
  };
}
