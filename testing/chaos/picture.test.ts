import { expect, test } from 'vitest';
import type { JobVersion, PutMessage } from '#/testing/chaos/history.ts';
import { picture } from '#/testing/chaos/picture.ts';
import { chaosPlan } from '#/testing/chaos/plan.ts';
import type { ChaosRecord } from '#/testing/chaos/run.ts';

const T = Date.parse('2026-01-01T00:00:00Z');

const put: PutMessage = {
  id: 'a',
  messageId: 'm',
  queue: 'acme-tasks',
  kind: 'succeed',
  expected: 'completed',
  webhook: false,
  at: T,
};
const created: JobVersion = {
  uid: 'u',
  name: 'n',
  messageId: 'm',
  revision: 1,
  askedAt: T + 50_000,
  answeredAt: T + 50_000,
  write: 'create',
  by: '',
  createdAt: T + 50_000,
  heldBack: false,
  end: undefined,
  endedAt: undefined,
  settled: false,
  gone: false,
};
const over = {
  ...created,
  askedAt: T + 75_000,
  answeredAt: T + 75_000,
  end: 'completed',
  endedAt: T + 75_000,
} as const;

const record: ChaosRecord = {
  plan: chaosPlan({ seed: 7, tasks: 1, kills: 1, replicas: 2, spanMs: 1000 }),
  history: {
    puts: [put],
    jobs: [
      created,
      { ...over, revision: 2, write: 'update status' },
      { ...over, revision: 3, write: 'patch', settled: true, answeredAt: T + 80_000 },
    ],
    pods: [],
    deliveries: [],
    poison: [],
    calls: [],
    left: {},
    caps: [{ of: 'all', name: '', most: 2 }],
    overlap: 0,
    changes: [],
  },
  startedAt: T,
  endedAt: T + 100_000,
  kills: [{ replica: 1, pod: 'operator-1-1', at: T + 25_000 }],
  ownEnds: [],
  outages: [{ kind: 'api-killed', from: T + 10_000, to: T + 20_000 }],
  exitCodes: [0, 0],
  queueFaults: 0,
  azureFaults: 0,
  audit: { conflicts: 0, broken: 0, leaders: [], lines: 3 },
};

test('the picture shows when what waited, ran and was settled, and what befell it', () => {
  // The time runs from 60 to 940: 8.8 a second; numbers rise from 270 to 50 above, and from 440 to 310 below.
  const svg = picture(record);
  const pathOf = (colour: string) => new RegExp(`<path d="([^"]*)" fill="none" stroke="${colour}"`).exec(svg)?.[1];
  expect(pathOf('#c77700')).toBe('M60,270.0H60.0V50.0H500.0V270.0H940');
  expect(pathOf('#2e7d32')).toBe('M60,270.0H764.0V50.0H940');
  expect(pathOf('#1565c0')).toBe('M60,440.0H500.0V375.0H720.0V440.0H940');
  expect(svg).toContain('<rect x="148.0" y="50" width="88.0"');
  expect(svg).toContain('<title>api-killed</title>');
  expect(svg).toContain('M276.0,444h8l-4,8z');
  expect(svg).toContain('1 messages, 2 replicas, seed 7');
});
