/** Repositories over HTTP, by git's own server program; with a password, where one is wanted. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from '#/testing/shell.ts';

/** A running server. */
export interface GitServer extends AsyncDisposable {
  /** `http://HOST:PORT` */
  readonly url: string;
  /**
   * Makes NAME.git, or adds a commit to its branch `main`, with these files; gives the commit. A repository whose name begins with `sha256` has
   * hashes of that kind; one whose name begins with `v0` speaks protocol version 0 alone, and gives by their hash only commits that a branch
   * or tag points to.
   */
  commit(name: string, files: Readonly<Record<string, string>>): Promise<string>;
  /** Runs git in the folder from which NAME.git is pushed. */
  git(name: string, ...args: readonly string[]): Promise<string>;
}

const AUTHOR = ['-c', 'user.name=Ines', '-c', 'user.email=ines@example.test', '-c', 'commit.gpgsign=false'];

/** As the file is: where git-lfs is installed, its filter would make a pointer of what is committed. */
const NO_FILTERS = { GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' };

/** Starts it. @param password for every repository whose name begins with `private` @param lfs answers what is asked of Git LFS */
export async function startGitServer(password: string, host = '127.0.0.1', lfs?: RequestListener): Promise<GitServer> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'slipway-git-'));
  const bare = (name: string) => join(directory.path, 'served', `${name}.git`);
  const work = (name: string) => join(directory.path, 'work', name);
  const git = (name: string, ...args: readonly string[]) =>
    run('git', [...AUTHOR, '-C', work(name), ...args], { env: NO_FILTERS });

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://any');
    const given = Buffer.from((request.headers.authorization ?? '').replace(/^Basic /, ''), 'base64').toString('utf8');
    if (url.pathname.startsWith('/private') && given.split(':')[1] !== password) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    if (lfs !== undefined && url.pathname.includes('.git/info/lfs/')) return lfs(request, response);
    serve(join(directory.path, 'served'), url, request, response);
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    git,
    async commit(name, files) {
      const folder = work(name);
      const isNew = await mkdir(folder, { recursive: true });
      if (isNew !== undefined) {
        const format = `--object-format=${name.startsWith('sha256') ? 'sha256' : 'sha1'}`;
        await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', format, bare(name)]);
        if (!speaksV0(name)) await run('git', ['-C', bare(name), 'config', 'uploadpack.allowAnySHA1InWant', 'true']);
        await git(name, 'init', '--quiet', '--initial-branch=main', format);
        await git(name, 'remote', 'add', 'origin', bare(name));
      }
      for (const [file, text] of Object.entries(files)) {
        await mkdir(dirname(join(folder, file)), { recursive: true });
        await writeFile(join(folder, file), text);
      }
      await git(name, 'add', '--all');
      await git(name, 'commit', '--quiet', '--allow-empty', '--message', 'a change');
      await git(name, 'push', '--quiet', 'origin', 'HEAD:main');
      return (await git(name, 'rev-parse', 'HEAD')).trim();
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      await directory.remove();
    },
  };
}

/** Git's server is told another version by a header, or speaks this one. */
function speaksV0(name: string): boolean {
  return name.startsWith('v0');
}

/** Git's server is a CGI program: variables and a body in, headers and a body out. */
function serve(root: string, url: URL, request: IncomingMessage, response: ServerResponse): void {
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'],
      ...(request.headers['content-encoding'] === undefined
        ? {}
        : { HTTP_CONTENT_ENCODING: request.headers['content-encoding'] }),
      ...(request.headers['git-protocol'] === undefined || speaksV0(url.pathname.slice(1))
        ? {}
        : { GIT_PROTOCOL: String(request.headers['git-protocol']) }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(child.stdin);
  let head = '';
  const onData = (chunk: Buffer) => {
    head += chunk.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    child.stdout.off('data', onData);
    const headers = head
      .slice(0, end)
      .split('\r\n')
      .map((line) => /^([^:]+): (.*)$/.exec(line));
    const status = headers.find((one) => one?.[1] === 'Status')?.[2]?.slice(0, 3) ?? '200';
    response.writeHead(Number(status), Object.fromEntries(headers.flatMap((one) => (one ? [[one[1], one[2]]] : []))));
    response.write(Buffer.from(head.slice(end + 4), 'latin1'));
    child.stdout.pipe(response);
  };
  child.stdout.on('data', onData);
}
