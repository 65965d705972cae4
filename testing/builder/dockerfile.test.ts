import { expect, test } from 'vitest';
import { parseDockerfile } from './dockerfile.ts';

test('stages, flags, lists, comments and lines that go on', () => {
  const { args, stages } = parseDockerfile(
    [
      '# syntax=docker/dockerfile:1',
      'ARG BASE=x',
      'from ${BASE} as Build',
      'RUN one && \\',
      '  # between',
      '',
      '  two \\\\',
      'COPY --from=a --chown=1:2 ["a b", "c"]',
      'FROM build',
      'CMD [ not a list',
    ].join('\n'),
  );
  expect(args.map(({ text }) => text)).toEqual(['BASE=x']);
  expect(stages.map(({ name, base }) => [name, base])).toEqual([
    ['build', '${BASE}'],
    [undefined, 'build'],
  ]);
  const [run, copy] = stages[0]?.instructions ?? [];
  expect(run).toMatchObject({ line: 4, name: 'RUN', text: 'one &&   two \\\\', list: undefined });
  expect([...(copy?.flags ?? [])]).toEqual([
    ['from', 'a'],
    ['chown', '1:2'],
  ]);
  expect(copy?.list).toEqual(['a b', 'c']);
  expect(stages[1]?.instructions[0]).toMatchObject({ name: 'CMD', text: '[ not a list', list: undefined });
});

test.each([
  ['FROM a\nRUNN x', 'dockerfile parse error on line 2: unknown instruction: RUNN'],
  ['FROM a\nRUN', 'line 2: RUN requires at least one argument'],
  ['FROM a b', 'line 1: FROM requires either one or three arguments'],
  ['RUN x', 'line 1: no build stage in current context'],
  ['# nothing', 'file with no instructions'],
  ['FROM a\nHEALTHCHECK NONE', 'the stand-in for Kaniko cannot do HEALTHCHECK (line 2 of the Dockerfile)'],
  ['FROM a\nONBUILD RUN x', 'cannot do ONBUILD'],
  ['FROM a\nADD a b', 'cannot do ADD'],
  ['FROM a\nRUN --mount=type=cache,target=/x y', 'cannot do RUN --mount'],
  ['FROM a\nCOPY --link a b', 'cannot do COPY --link'],
  ['FROM --platform=linux/arm64 a', 'cannot do FROM --platform'],
  ['FROM a\nRUN <<EOF\nx\nEOF', 'cannot do RUN with a here-document (line 2'],
  ['# escape=`\nFROM a', 'cannot do the directive escape=`'],
])('%j is refused', (text, complaint) => {
  expect(() => parseDockerfile(text)).toThrow(complaint);
});
