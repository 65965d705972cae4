/** What Kaniko's executor was recorded to make of the builder's test cases (testing/builder/recorded), as a part of docs/kaniko.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const CASES = ['plain', 'stages', 'owners'] as const;
/** Of a configuration, in the order in which it is shown. */
const SHOWN = ['User', 'WorkingDir', 'Entrypoint', 'Cmd', 'Env', 'Labels', 'ExposedPorts'] as const;

const read = (path: string) => readFile(fileURLToPath(new URL(`../testing/builder/${path}`, import.meta.url)), 'utf8');

/** Each case: its Dockerfile, the image's configuration, the files of its layer, and the executor's own log without what is around its lines. */
export async function kanikoRecords(): Promise<string> {
  const version = (await read('recorded/version.txt')).trim();
  const parts = await Promise.all(CASES.map(recordOf));
  return [`\nRecorded with ${version}.\n`, ...parts].join('\n');
}

async function recordOf(name: string): Promise<string> {
  const { config } = JSON.parse(await read(`recorded/${name}/config.json`)) as { config: Record<string, unknown> };
  const shown = SHOWN.filter((field) => config[field] !== undefined && config[field] !== '').map(
    (field) => `${field}: ${JSON.stringify(config[field])}`,
  );
  const log = (await read(`recorded/${name}/output.txt`)).replaceAll(
    /^time="…" level=\w+ msg="(.*)"$/gm,
    (_, text: string) => text.replaceAll('\\"', '"'),
  );
  return `### ${name}

${block(await read(`cases/${name}/Dockerfile`))}
Its configuration, and the layer (mode, owner, size, path):

${block(shown.join('\n'))}
${block(await read(`recorded/${name}/files.txt`))}
<details><summary>What the executor printed</summary>

${block(log)}
</details>
`;
}

function block(text: string): string {
  return `    ${text.trim().replaceAll(/\n(?=[^\n])/g, '\n    ')}\n`;
}
