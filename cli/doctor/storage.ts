/** The storage account: whether its queues answer, what the credentials allow, and each configured queue. Touches no message. */
import { poisonQueueOf } from '../../contract/identity.ts';
import type { ServiceError } from '../../lib/errors.ts';
import type { FileConfig } from '../../operator/config-schema.ts';
import { discover } from '../../operator/discover.ts';
import type { StorageAccess } from '../../queue/access.ts';
import type { QueueInspector } from '../../queue/inspect.ts';
import { missingRights, type SasTerms, sasTerms } from '../../queue/sas.ts';
import { type Answer, ask } from '../ask.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';

/** How the commands that are printed reach the account. */
export interface StorageQuestion {
  readonly access: StorageAccess;
  readonly inspector: QueueInspector;
  /** The configured queues; undefined when the configuration is not known. */
  readonly queues: readonly string[] | undefined;
  /** How further queues are found, where they are. */
  readonly discovery?: FileConfig['discovery'] | undefined;
  /** Whether `access` is the environment's: then a command may use its variable. */
  readonly isOfEnvironment: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A SAS that ends within this many milliseconds is told of. */
const SOON_MS = 7 * 86_400_000;

/** Of queues that are found so many are looked at: each takes two calls and a line. */
const MOST_FOUND = 20;

/** Asks the account. */
export async function examineStorage(question: StorageQuestion): Promise<readonly Finding[]> {
  const { access, inspector } = question;
  const terms = sasTerms(access);
  const listed = await ask(inspector.list());
  const reached = reach(question, terms, listed);
  if (reached.state === 'PROBLEM') return [reached];
  const findings = [reached, rights(question, terms)];
  if (question.discovery !== undefined) findings.push(discovered(question.discovery, access.account, listed));
  const named = question.queues;
  const others = found(question.discovery, listed).filter((queue) => named?.includes(queue) !== true);
  const queues = named && [...named, ...others.slice(0, MOST_FOUND)];
  if (others.length > MOST_FOUND)
    findings.push(
      unknown(
        'queues',
        `of those found the first ${MOST_FOUND} are looked at, and ${others.length - MOST_FOUND} are not`,
      ),
    );
  if (queues === undefined) {
    return [...findings, unknown('queues', 'which queues there should be is not known without the configuration')];
  }
  let peeked = false;
  for (const queue of queues) {
    const finding = await examineQueue(question, queue);
    findings.push(finding);
    if (peeked || finding.state !== 'OK') continue;
    peeked = true;
    const peek = await ask(inspector.peek(queue));
    if (peek.ok) findings.push(ok('messages', `those of ${queue} can be read (peeked at, which takes none)`));
    else if (peek.error.kind === 'forbidden' && terms !== undefined)
      findings.push(
        unknown(
          'messages',
          `the SAS has no right to read messages, which the operator does not need: not peeked into ${queue}`,
        ),
      );
    else findings.push(refused('messages', peek.error, question));
  }
  return findings;
}

function reach(question: StorageQuestion, terms: SasTerms | undefined, listed: Answer<readonly string[]>): Finding {
  const { access } = question;
  if (listed.ok) {
    const poison = listed.value.filter((name) => name.endsWith(poisonQueueOf(''))).length;
    const detail = `${access.account} answers and has ${counted(listed.value.length, 'queue')}, ${poison} of them for poison`;
    return ok('storage account', detail);
  }
  const { error } = listed;
  if (error.kind === 'forbidden' && terms !== undefined && !isExpired(terms, question.now))
    return unknown(
      'storage account',
      `${access.account} lists no queues to this SAS (${error.code}): it may be wrong, or lack the right "list" on the service; the lines below tell`,
      generateSas(access.account),
    );
  return refused('storage account', error, question);
}

function found(discovery: StorageQuestion['discovery'], listed: Answer<readonly string[]>): readonly string[] {
  return discovery === undefined || !listed.ok ? [] : discover(listed.value, discovery).map(({ queue }) => queue);
}

function discovered(
  discovery: NonNullable<FileConfig['discovery']>,
  account: string,
  listed: Answer<readonly string[]>,
): Finding {
  const check = 'discovery';
  if (!listed.ok)
    return problem(
      check,
      'no queue is found without the right "list" on the service: give it, or name the queues in the configuration',
      generateSas(account),
    );
  const but = discovery.exclude.length === 0 ? '' : ` and not ${discovery.exclude.join(', ')}`;
  const count = found(discovery, listed).length;
  return count === 0
    ? unknown(
        check,
        `no queue named {client}-tasks of ${account} fits ${discovery.include.join(', ')}${but}; a new one is found within ${discovery.intervalSeconds} s`,
      )
    : ok(check, `${counted(count, 'queue')} of ${account} fit ${discovery.include.join(', ')}${but}`);
}

function isExpired({ until }: SasTerms, now: number): boolean {
  return until !== undefined && until <= now;
}

function refused(check: string, error: ServiceError, { access }: StorageQuestion): Finding {
  if (error.kind === 'forbidden')
    return problem(
      check,
      `${access.account} refuses these credentials: ${error.message}. Put valid ones into the Secret`,
      access.kind === 'sas-url'
        ? generateSas(access.account)
        : `az storage account show-connection-string --name ${access.account} --query connectionString -o tsv`,
    );
  return problem(
    check,
    `${access.account}: ${error.message}. See that its name is right and that this machine may reach it`,
    `az storage account show --name ${access.account} --query '[primaryEndpoints.queue, networkRuleSet.defaultAction]'`,
  );
}

const UNTRIED = 'Receiving, putting, deleting and creating were not tried, since that would have an effect';

function rights({ access, now }: StorageQuestion, terms: SasTerms | undefined): Finding {
  const check = 'queue rights';
  if (terms === undefined) return ok(check, `the account key has every right. ${UNTRIED}`);
  if (isExpired(terms, now))
    return problem(check, `the SAS ended ${new Date(terms.until ?? 0).toISOString()}`, generateSas(access.account));
  if (terms.policy !== undefined && terms.permissions === '')
    return unknown(
      check,
      `the SAS has its rights from the stored policy ${terms.policy}, which only the account's key may read. ${UNTRIED}`,
    );
  const missing = missingRights(terms);
  if (missing.length > 0)
    return problem(check, `the SAS does not allow the operator to ${missing.join(', ')}`, generateSas(access.account));
  if (terms.until !== undefined && terms.until - now < SOON_MS)
    return problem(check, `the SAS ends soon: ${new Date(terms.until).toISOString()}`, generateSas(access.account));
  const ends = terms.until === undefined ? '' : ` and ends ${new Date(terms.until).toISOString()}`;
  return ok(check, `the SAS says that it allows all that the operator does${ends}. ${UNTRIED}`);
}

async function examineQueue(question: StorageQuestion, queue: string): Promise<Finding> {
  const { inspector, access, isOfEnvironment } = question;
  const check = `queue ${queue}`;
  const held = await ask(inspector.count(queue));
  if (!held.ok) {
    if (held.error.kind === 'not-found') {
      const by =
        isOfEnvironment && access.kind === 'connection-string'
          ? '--connection-string "$AZURE_STORAGE_CONNECTION_STRING"'
          : `--account-name ${access.account} --auth-mode login`;
      return problem(
        check,
        `there is no such queue in ${access.account}`,
        `az storage queue create --name ${queue} ${by}`,
      );
    }
    return held.error.kind === 'forbidden'
      ? unknown(check, `${held.error.message}: the credentials have no right to read its properties`)
      : unknown(check, held.error.message);
  }
  const poison = poisonQueueOf(queue);
  const poisoned = await ask(inspector.count(poison));
  const told = `about ${counted(held.value, 'message')}`;
  if (poisoned.ok)
    return ok(
      check,
      `${told}; poisoned: ${poisoned.value}${poisoned.value === 0 ? '' : `, see slipway poison list ${queue}`}`,
    );
  return ok(
    check,
    poisoned.error.kind === 'not-found'
      ? `${told}; ${poison} is made when first needed`
      : `${told}; how many are poisoned is not known: ${poisoned.error.message}`,
  );
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** An account SAS with what the operator needs, and the right to list. */
function generateSas(account: string): string {
  return `az storage account generate-sas --account-name ${account} --services q --resource-types sco --permissions rlacup --https-only --expiry "$(date -ud '+1 year' +%Y-%m-%dT%H:%MZ)" -o tsv`;
}
