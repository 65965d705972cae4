import { expect, test } from 'vitest';
import { parseReport } from '#/contract/runner-abi.ts';
import { stages, standardEndings, statusTemplate } from '#/testing/kwok.ts';
import { behaviours, ciBehaviours, fixed, podStatus } from '#/testing/pod-status.ts';

/** What KWOK makes of a template, with the fixed values of the recordings instead of its own. */
function render(template: string): unknown {
  return JSON.parse(
    template
      .replaceAll(/\{\{ (Now|\.status\.startTime) \| Quote \}\}/g, JSON.stringify(fixed.time))
      .replaceAll('{{ (index .spec.containers 0).image | Quote }}', JSON.stringify(fixed.image)),
  );
}

test.each([...behaviours, ...ciBehaviours])('%s: a stage body is the recorded status and nothing else', (behaviour) => {
  expect(render(statusTemplate(behaviour))).toEqual(podStatus(behaviour));
});

test('there is a stage for the start, one for the end by deletion, and one for each ending', () => {
  expect(stages()).toHaveLength(2 + Object.keys(standardEndings).length);
});

test.each([
  ['completed-owed', 'completed', 'owed'],
  ['completed-delivered', 'completed', 'delivered'],
  ['failed', 'failed', 'none'],
  ['timeout', 'failed', 'none'],
  ['permanent', 'failed', 'owed'],
] as const)('%s: its termination message is a report of the contract', (behaviour, status, webhook) => {
  const [container] = podStatus(behaviour)['containerStatuses'] as { state: { terminated: { message: string } } }[];
  expect(parseReport(container!.state.terminated.message)).toMatchObject({ status, webhook });
});
