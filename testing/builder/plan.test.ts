import { expect, test } from 'vitest';
import { parseDockerfile } from './dockerfile.ts';
import { metaArgs, plan } from './plan.ts';

const TEXT = `
ARG TAG=1
ARG BASE=base:\${TAG}
FROM \${BASE} AS build
RUN build
FROM \${BASE} AS runtime
COPY --from=build a b
FROM runtime AS test
RUN test
FROM runtime AS lint
COPY --from=0 a b
RUN lint
`;

const planned = (target: string | undefined, given: Record<string, string> = {}) => {
  const { args, stages } = parseDockerfile(TEXT);
  return plan(stages, metaArgs(args, new Map(Object.entries(given))), target).map(({ index, base, instructions }) => [
    index,
    base,
    instructions.map(({ original }) => original).join(';'),
  ]);
};

test('a target takes what it needs, and becomes one with the only stage that it is based on', () => {
  expect(planned('TEST', { TAG: '2' })).toEqual([
    [0, 'base:2', 'RUN build'],
    [2, 'base:2', 'COPY --from=build a b;RUN test'],
  ]);
});

test('without a target it is the last', () => {
  expect(planned(undefined).at(-1)).toEqual([3, 'base:1', 'COPY --from=build a b;COPY --from=0 a b;RUN lint']);
});

test('a stage that is copied from, or that is the base of two, stays a stage', () => {
  const of = (text: string) =>
    plan(parseDockerfile(text).stages, new Map(), undefined).map(({ index, base }) => [index, base]);
  expect(of('FROM x AS a\nRUN a\nFROM a AS b\nCOPY --from=a c d')).toEqual([
    [0, 'x'],
    [1, 0],
  ]);
  expect(of('FROM x AS a\nFROM a AS b\nFROM a AS c\nCOPY --from=b d e')).toEqual([
    [0, 'x'],
    [1, 0],
    [2, 0],
  ]);
});

test('what is not there is refused', () => {
  expect(() => planned('none')).toThrow('error finding target stage: "none" is not a valid target build stage');
  const itself = parseDockerfile('FROM a AS b\nCOPY --from=b c d').stages;
  expect(() => plan(itself, new Map(), undefined)).toThrow('may only name an earlier stage');
  expect(() => plan(parseDockerfile('FROM $NONE').stages, new Map(), undefined)).toThrow(
    'base name ($NONE) should not be blank',
  );
});
