/** Plays at random. */
import fc from 'fast-check';
import { CHECKPOINTS } from '#/operator/checkpoint.ts';
import { API_FAULTS, CELLS, QUEUE_FAULTS, WEBHOOK_FAULTS } from './faults.ts';
import { KINDS } from './messages.ts';
import { type Command, VARIANT_NAMES } from './play.ts';

const which = fc.nat(5);
const shortTime = fc.constantFrom(1, 5, 15, 30, 60);
const longTime = fc.constantFrom(60, 130, 320, 700, 1900);

const command = (weight: number, arbitrary: fc.Arbitrary<Command>) => ({ weight, arbitrary });

const of = <C extends Command['do']>(
  name: C,
  fields: {
    readonly [K in Exclude<keyof Extract<Command, { do: C }>, 'do'>]: fc.Arbitrary<Extract<Command, { do: C }>[K]>;
  },
) => fc.record({ do: fc.constant(name), ...fields }) as unknown as fc.Arbitrary<Command>;

/** An outage by its most ordinary faults. */
const outage = <F extends string>(faults: readonly F[], ...names: readonly string[]) =>
  fc.constantFrom(...faults.filter((fault) => names.some((name) => fault.startsWith(name))));

const aCommand: fc.Arbitrary<Command> = fc.oneof(
  command(
    14,
    of('send', { kind: fc.constantFrom(...KINDS), ttlSeconds: fc.constantFrom(86_400, 86_400, 600, 90, 20) }),
  ),
  command(10, of('pass', { seconds: shortTime })),
  command(4, of('pass', { seconds: longTime })),
  command(7, of('start operator', {})),
  command(2, of('kill operator', { which })),
  command(3, of('kill operator after', { which, checkpoint: fc.constantFrom(...CHECKPOINTS) })),
  command(2, of('stop operator', { which })),
  command(
    3,
    of('another consumer', {
      leaseSeconds: fc.constantFrom(30, 120, 900),
      workSeconds: fc.constantFrom(1, 20, 100, 800),
      finally: fc.constantFrom('deletes', 'dies'),
    }),
  ),
  command(10, of('fault', { cell: fc.constantFrom(...CELLS), times: fc.constantFrom(1, 1, 2, 5) })),
  command(
    1,
    of('API outage', { fault: outage(API_FAULTS, '403', '429', '500', '503', 'hang', 'reset'), seconds: longTime }),
  ),
  command(
    1,
    of('queue outage', { fault: outage(QUEUE_FAULTS, '403', '500', '503', 'hang', 'reset'), seconds: longTime }),
  ),
  command(1, of('receiver outage', { fault: fc.constantFrom(...WEBHOOK_FAULTS), seconds: longTime })),
  command(2, of('change configuration', { to: fc.constantFrom(...VARIANT_NAMES) })),
  command(2, of('lose leadership', { which })),
  command(3, of('gain leadership', { which })),
  command(2, of('watches break', {})),
  command(1, of('clock jumps', { which, seconds: fc.constantFrom(-3600, -120, -5, 5, 120, 3600) })),
  // Mostly the newest ones: only of a Job that runs is there anything left to go wrong.
  command(4, of('delete Job', { which: fc.constantFrom(-1, -2, -3, 0) })),
  command(1, of('delete namespace', { seconds: shortTime })),
  command(1, of('cancel Job', { which })),
  command(2, of('suspend Job', { which })),
  command(1, of('resume Job', { which })),
  command(2, of('drain pod', { which })),
  command(1, of('stale receipts are told', { as: fc.constantFrom('MessageNotFound', 'PopReceiptMismatch') })),
  command(1, fc.constantFrom<Command>({ do: 'delete queue' }, { do: 'create queue' }, { do: 'create queue' })),
  command(1, of('delete poison queue', {})),
);

/** More than 60 commands on the average. */
export const aPlay: fc.Arbitrary<readonly Command[]> = fc.array(aCommand, { maxLength: 160, size: 'max' });
