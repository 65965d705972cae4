import { defineConfig } from 'vitest/config';

const tier = (name: string, include: string[], testTimeout: number) => ({
  test: {
    name,
    include,
    testTimeout,
    hookTimeout: Math.max(30_000, testTimeout),
    environment: 'node' as const,
    // A second, the default, is short on a busy machine.
    expect: { poll: { timeout: 20_000 } },
  },
});

/** Each file has servers of its own, and waits for most of its time: two at once also on two cores. */
const sideBySide = ({ test }: ReturnType<typeof tier>) => ({ test: { ...test, maxWorkers: 2 } });

const outside = ['node_modules/**', 'dist/**', 'tests/**'];

/** One project a tier; what each tier needs is said in docs/testing.md. */
export default defineConfig({
  test: {
    projects: [
      // Unit tests share nothing, so they need no process of their own each: a third of the time.
      { test: { ...tier('unit', ['**/*.test.ts'], 60_000).test, exclude: outside, isolate: false, maxWorkers: 2 } },
      tier('model', ['tests/model/**/*.test.ts'], 600_000),
      tier('mutants', ['tests/mutants/**/*.test.ts'], 600_000),
      sideBySide(tier('integration', ['tests/integration/**/*.test.ts'], 120_000)),
      sideBySide(tier('control-plane', ['tests/control-plane/**/*.test.ts'], 600_000)),
      sideBySide(tier('chaos', ['tests/chaos/**/*.test.ts'], 900_000)),
      tier('containers', ['tests/containers/**/*.test.ts'], 600_000),
      tier('images', ['tests/images/**/*.test.ts'], 900_000),
      tier('live', ['tests/live/**/*.test.ts'], 900_000),
      tier('e2e', ['tests/e2e/**/*.test.ts'], 900_000),
    ],
  },
});
