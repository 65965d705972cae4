/** Runs the script that brings a repository into a pod of a CI task, as its container does: in an empty folder, told by variables. */
import { mkdir, mkdtempDisposable, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLONE_ENV, CLONE_SCRIPT } from '#/operator/ci/clone.ts';
import { attempt } from '#/testing/shell.ts';

/** What is cloned. What is left out is empty, or the Dockerfile at the root, without submodules. */
export interface CloneOptions {
  /** A URL, or the name of a repository of the server. */
  readonly repository: string;
  readonly commit?: string;
  readonly ref?: string;
  readonly submodules?: boolean;
  readonly context?: string;
  readonly dockerfile?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** What the script left. */
export interface Cloned extends AsyncDisposable {
  readonly code: number | null;
  /** Standard output, then standard error. */
  readonly output: string;
  /** The last line of it. */
  readonly last: string;
  /** The termination message; '' where there is none. */
  readonly message: string;
  /** The workspace. */
  readonly path: string;
  /** A file of the workspace. */
  file(name: string): Promise<string>;
  /** The files under `.git` in which a text stands. */
  whereInGit(text: string): Promise<readonly string[]>;
}

/** Clones. @param server the URL before the names of repositories */
export async function clone(server: string, options: CloneOptions): Promise<Cloned> {
  const { repository, commit = '', ref = '', submodules = false, env = {} } = options;
  const { context = '.', dockerfile = 'Dockerfile' } = options;
  const directory = await mkdtempDisposable(join(tmpdir(), 'slipway-clone-'));
  const path = join(directory.path, 'workspace');
  const log = join(directory.path, 'log');
  await mkdir(path);
  const { code, stdout, stderr } = await attempt('sh', ['-c', CLONE_SCRIPT], {
    cwd: path,
    env: {
      [CLONE_ENV.repository]: repository.includes('://') ? repository : `${server}/${repository}.git`,
      [CLONE_ENV.commit]: commit,
      [CLONE_ENV.ref]: ref,
      [CLONE_ENV.submodules]: String(submodules),
      [CLONE_ENV.context]: context,
      [CLONE_ENV.dockerfile]: dockerfile,
      CI_TERMINATION_LOG: log,
      ...env,
    },
  });
  const output = stdout + stderr;
  return {
    code,
    output,
    last: output.trim().split('\n').at(-1) ?? '',
    message: await readFile(log, 'utf8').catch(() => ''),
    path,
    file: (name) => readFile(join(path, name), 'utf8'),
    async whereInGit(text) {
      const git = join(path, '.git');
      const entries = await readdir(git, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      const texts = await Promise.all(files.map((file) => readFile(file, 'latin1')));
      return files.filter((_, at) => texts[at]?.includes(text));
    },
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}
