// Which orders this version knows, and what is said of others. Server and agent may be of different versions: the agent says in its hello what kinds it takes, and
// refuses in words what comes nevertheless.
import { HoldfastError } from '../../util/errors.ts';
import { hasShape } from '../../util/schema-check.ts';
import { CONTROL_LIMITS } from './limits.ts';
import { BackupOrder, Order, RestoreOrder, VmBackupOrder, VmRestoreOrder } from './orders.ts';

const ALL = [BackupOrder, RestoreOrder, VmBackupOrder, VmRestoreOrder];
export const ORDER_KINDS: readonly Order['kind'][] = ALL.map(({ properties }) => properties.kind.const);

/** What an agent takes that does not say: it is of before virtual machines. */
export const KINDS_UNSAID: readonly Order['kind'][] = ['backup', 'restore'];

/** @throws `protocol-failed` for an order that this version does not know, as a whole. */
export function requireKnown(value: unknown): Order {
  if (hasShape(Order, value, CONTROL_LIMITS.messageBytes)) return value;
  const kind = (value as { readonly kind?: unknown } | null)?.kind;
  const isKnown = ORDER_KINDS.some((each) => each === kind);
  const what = isKnown
    ? `a member of this ${kind}, or its value`
    : `orders of the kind ${JSON.stringify(String(kind).slice(0, 64))}, only ${ORDER_KINDS.join(', ')}`;
  throw new HoldfastError(
    'protocol-failed',
    `the agent does not know ${what}; install the Holdfast of the server at the node`,
  );
}
