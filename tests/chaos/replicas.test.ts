import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startReplicas } from '#/testing/chaos/replicas.ts';

test('a run with an operator that never starts ends, and says why by its last lines', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-chaos-'));
  const broken = new AbortController();
  await using replicas = startReplicas({
    count: 1,
    operator: { kubeconfig: 'none', namespace: 'chaos', connectionString: 'none', config: { queues: 'none' } },
    directory: directory.path,
    tell: () => undefined,
    onHopeless: (error) => broken.abort(error),
  });
  const whatWaits = replicas.kill(0, false, broken.signal);
  await expect(whatWaits).rejects.toThrow(
    /^replica 0 has ended by itself 3 times, one after the other; its last lines:\n.*\n.*queues = /,
  );
  expect(replicas.ownEnds).toHaveLength(3);
});
