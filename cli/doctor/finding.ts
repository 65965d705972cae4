/** What the doctor finds: one line a check, and the command that mends what is wrong. */
import { paint } from '../paint.ts';
import { printable, width } from '../text.ts';
import { wrapped } from '../wrap.ts';

/** `UNKNOWN`: it could not be found out; the detail says why. */
export type State = 'OK' | 'PROBLEM' | 'UNKNOWN';

/** The result of one check; the shape of `--json`. */
export interface Finding {
  readonly state: State;
  readonly check: string;
  readonly detail: string;
  /** A command for a shell that mends it, or, for what is unknown, that would let it be found out. */
  readonly command?: string;
}

/** A check that went well. */
export const ok = (check: string, detail: string): Finding => ({ state: 'OK', check, detail });

/** A check that did not, with the command that mends it. */
export const problem = (check: string, detail: string, command?: string): Finding => ({
  state: 'PROBLEM',
  check,
  detail,
  ...(command === undefined ? {} : { command }),
});

/** A check without an answer, with the reason and, if there is one, the command that would bring an answer. */
export const unknown = (check: string, detail: string, command?: string): Finding => ({
  state: 'UNKNOWN',
  check,
  detail,
  ...(command === undefined ? {} : { command }),
});

const COLOURS = { OK: 'green', PROBLEM: 'red', UNKNOWN: 'yellow' } as const;
const STATE_WIDTH = 9;

/** The findings as lines that line up. A command is never broken, so that it can be copied. */
export function findingLines(
  findings: readonly Finding[],
  { colour, columns }: { readonly colour: boolean; readonly columns: number | undefined },
): readonly string[] {
  const checkWidth = Math.max(...findings.map(({ check }) => width(check))) + 2;
  return findings.flatMap(({ state, check, detail, command }) => {
    const mark = paint(colour, COLOURS[state], state.padEnd(STATE_WIDTH)) + check.padEnd(checkWidth);
    const told = wrapped(mark, detail, columns, STATE_WIDTH + checkWidth).split('\n');
    return command === undefined ? told : [...told, `${' '.repeat(STATE_WIDTH)}→ ${printable(command)}`];
  });
}

/** `12 OK, 1 PROBLEM, 2 UNKNOWN.` */
export function countLine(findings: readonly Finding[]): string {
  const count = (state: State) => findings.filter((one) => one.state === state).length;
  return `${(['OK', 'PROBLEM', 'UNKNOWN'] as const).map((state) => `${count(state)} ${state}`).join(', ')}.`;
}
