/** What the workflows run to see whether a pushed image does what it should: it does for ours, and finds out the one that is not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Docker, startDocker } from '#/testing/docker.ts';
import { buildImage, type Image, imageName, images } from '#/testing/images.ts';
import { attempt } from '#/testing/shell.ts';
import { workflow } from '#/testing/workflows.ts';

let engine: Docker;
beforeAll(async () => {
  engine = await startDocker();
  for (const image of images) await buildImage(engine, image);
});
afterAll(() => engine?.[Symbol.asyncDispose]());

const CHECKS: Record<Image, unknown> = {
  operator: workflow('images').jobs['operator']?.with?.['verify'],
  runner: workflow('worker-image').on.workflow_call?.inputs?.['verify']?.default,
};

/** As the job `verify` does. */
const verify = (check: Image, image: Image) =>
  attempt('timeout', ['300', 'bash', '-euo', 'pipefail', '-c', String(CHECKS[check])], {
    env: { DOCKER_HOST: engine.host, IMAGE: imageName(image) },
  });

test.each(images)('%s: passes its own check', async (image) => {
  expect(workflow('images').jobs[image]?.with?.['image']).toBe(`slipway-${image}`);
  const { code, stdout, stderr } = await verify(image, image);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain(image === 'runner' ? 'task completed' : 'nonsense');
});

test.each([
  ['operator', 'runner'],
  ['runner', 'operator'],
] as const)('the check of %s does not pass the image of %s', async (check, image) => {
  expect((await verify(check, image)).code).not.toBe(0);
});
