/**
 * A Dockerfile's instructions. Pure. The libraries that are kept are made for editors: they mend what is wrong, where a build has to refuse it.
 * What Kaniko could do and the stand-in cannot is an error that says so.
 */

const CAN = ['FROM', 'ARG', 'ENV', 'LABEL', 'COPY', 'RUN', 'WORKDIR', 'USER', 'CMD', 'ENTRYPOINT', 'EXPOSE'] as const;
const CANNOT = ['ADD', 'HEALTHCHECK', 'ONBUILD', 'SHELL', 'STOPSIGNAL', 'VOLUME', 'MAINTAINER'];
const FLAGS: Readonly<Record<string, readonly string[]>> = { COPY: ['from', 'chown', 'chmod'] };

/** One instruction. */
export interface Instruction {
  /** Where it begins; the first is 1. */
  readonly line: number;
  readonly name: (typeof CAN)[number];
  /** Such as `from`, without the dashes. */
  readonly flags: ReadonlyMap<string, string>;
  /** What follows the flags, lines joined. */
  readonly text: string;
  /** The same where it is a list in JSON: the form without a shell. */
  readonly list: readonly string[] | undefined;
  /** As it stands there, lines joined. */
  readonly original: string;
}

/** What begins with a FROM. */
export interface Stage {
  readonly name: string | undefined;
  /** As it stands there, with its variables. */
  readonly base: string;
  readonly instructions: readonly Instruction[];
}

/** The ARGs before the first FROM, and the stages. Throws with the line. */
export function parseDockerfile(text: string): {
  readonly args: readonly Instruction[];
  readonly stages: readonly Stage[];
} {
  const args: Instruction[] = [];
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  const directive = /^#\s*escape\s*=\s*(\S)/im.exec(/^(?:#.*\n)*/.exec(text)?.[0] ?? '');
  if (directive && directive[1] !== '\\') throw cannot(1, `the directive escape=${directive[1]}`);
  for (const { line, joined } of logicalLines(text)) {
    const instruction = parseInstruction(line, joined);
    if (instruction.name === 'FROM') stages.push({ ...from(instruction), instructions: [] });
    else if (stages.length > 0) stages.at(-1)?.instructions.push(instruction);
    else if (instruction.name === 'ARG') args.push(instruction);
    else throw wrong(line, `no build stage in current context`);
  }
  if (stages.length === 0) throw new Error('file with no instructions');
  return { args, stages };
}

function* logicalLines(text: string): Generator<{ line: number; joined: string }> {
  let begun: { line: number; joined: string } | undefined;
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(raw)) continue; // also between lines that belong together
    begun ??= { line: index + 1, joined: '' };
    const more = /(?<!\\)\\[ \t]*$/.exec(raw);
    begun.joined += more ? raw.slice(0, more.index) : raw;
    if (more) continue;
    yield begun;
    begun = undefined;
  }
  if (begun) yield begun;
}

function parseInstruction(line: number, joined: string): Instruction {
  const original = joined.trim();
  const word = /^\S+/.exec(original)?.[0] ?? '';
  const name = CAN.find((one) => one === word.toUpperCase());
  if (CANNOT.includes(word.toUpperCase())) throw cannot(line, word.toUpperCase());
  if (name === undefined) throw wrong(line, `unknown instruction: ${word}`);
  const flags = new Map<string, string>();
  let text = original.slice(word.length).trimStart();
  for (let flag = readFlag(text); flag; flag = readFlag(text)) {
    const [all, key = '', value = ''] = flag;
    if (!FLAGS[name]?.includes(key)) throw cannot(line, `${name} --${key}`);
    flags.set(key, value);
    text = text.slice(all.length).trimStart();
  }
  if (text === '') throw wrong(line, `${name} requires at least one argument`);
  if ((name === 'RUN' || name === 'COPY') && /<<-?\s*["']?[A-Za-z_]/.test(text))
    throw cannot(line, `${name} with a here-document`);
  return { line, name, flags, text, list: list(text), original };
}

function readFlag(text: string): RegExpExecArray | null {
  return /^--([a-z][a-z-]*)(?:=(\S*))?(?=\s|$)/.exec(text);
}

function list(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.length > 0 && parsed.every((one) => typeof one === 'string')
      ? parsed
      : undefined;
  } catch {
    return undefined; // then it is a shell's command that begins with a bracket
  }
}

function from({ line, text }: Instruction): Omit<Stage, 'instructions'> {
  const [base = '', as, name, ...more] = text.split(/\s+/);
  if (more.length > 0 || (as !== undefined && (as.toLowerCase() !== 'as' || name === undefined)))
    throw wrong(line, 'FROM requires either one or three arguments');
  return { base, name: name?.toLowerCase() };
}

function wrong(line: number, what: string): Error {
  return new Error(`dockerfile parse error on line ${line}: ${what}`);
}

function cannot(line: number, what: string): Error {
  return new Error(`the stand-in for Kaniko cannot do ${what} (line ${line} of the Dockerfile)`);
}
