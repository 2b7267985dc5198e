// Failures as the guest dialect has them: a handler's is 500 with its text. Clients of Proxmox VE look for certain texts, so what they look for
// is said in those words, in answers and as the ends of tasks.
import { type ErrorCode, HoldfastError } from '../../util/errors.ts';
import { ApiError, type Failure, failureOf, ParameterError } from '../dialect/failure.ts';

const CHECK_FAILED = 'Parameter verification failed.';
const STATUS: Partial<Record<ErrorCode, number>> = {
  'not-authenticated': 401,
  'permission-denied': 403,
  'login-throttled': 429,
  'bad-argument': 400,
  'bad-name': 400,
};
const OF_HANDLERS = 500;

/** The words that clients know for a code, by what the error says of its guest; undefined where its own text does. */
const KNOWN_TEXTS: Partial<Record<ErrorCode, (data: HoldfastError['data']) => string | undefined>> = {
  'guest-locked': ({ lock }) => (typeof lock === 'string' ? `VM is locked (${lock})` : undefined),
  'guest-running': ({ vmid }) => (vmid === undefined ? undefined : `VM ${vmid} already running`),
  'guest-stopped': ({ vmid }) => (vmid === undefined ? undefined : `VM ${vmid} not running`),
  'guest-agent-silent': () => 'QEMU guest agent is not running',
  'config-changed': () => 'detected modified configuration - file changed by other user? Try again.',
};

/** The text that clients know, before the error's own. */
function knownText({ code, data, message }: HoldfastError): string {
  const known = KNOWN_TEXTS[code]?.(data);
  return known === undefined || message.startsWith(known) ? message : `${known} - ${message}`;
}

/** Runs work whose failures are told in the words of the dialect. */
export async function inKnownWords<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    throw new HoldfastError(error.code, knownText(error), { cause: error, data: { ...error.data } });
  }
}

export function guestFailureOf(error: unknown): Failure {
  const failure = failureOf(error);
  if (error instanceof ParameterError) return { ...failure, text: CHECK_FAILED };
  if (failure.code === 'permission-denied') return { ...failure, status: 403, text: deniedText(failure) };
  if (error instanceof ApiError || !(error instanceof HoldfastError)) return failure;
  const { key } = error.data;
  const status = STATUS[error.code] ?? OF_HANDLERS;
  if (status === 400 && typeof key === 'string')
    return { ...failure, status, text: CHECK_FAILED, errors: { [key]: error.message } };
  return { ...failure, status, text: knownText(error) };
}

/** Clients take this text apart at its brackets and comma. */
function deniedText({ data, text }: Failure): string {
  const { path, privileges } = data as { path?: unknown; privileges?: readonly string[] };
  if (typeof path !== 'string' || privileges === undefined || privileges.length === 0) return text;
  return `Permission check failed (${path}, ${privileges.join('|')})`;
}
