// The HTTP status of every error of the catalogue; docs/protocol.md, section 3 holds the same table, and a test compares them.
import { ERROR_CODES, type ErrorCode } from './errors.ts';

/** Codes that have a status of their own. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  'not-authenticated': 401,
  'permission-denied': 403,
  'not-owner': 403,
  protected: 403,
  'retention-locked': 403,
  'not-allowed': 403,
  'node-foreign': 403,
  'not-found': 404,
  'session-gone': 404,
  'datastore-locked': 409,
  exists: 409,
  'node-duplicate': 409,
  'guest-locked': 409,
  'guest-running': 409,
  'guest-stopped': 409,
  'config-changed': 409,
  'too-large': 413,
  'too-many': 429,
  'login-throttled': 429,
  'datastore-maintenance': 503,
  'node-offline': 503,
  aborted: 503,
  'disk-full': 507,
  'quota-exceeded': 507,
};

/** Of another code 400 when the caller has to do something else, and 500 when the server has. */
export function httpStatusOf(error: {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;
}): number {
  const isOfCaller = ERROR_CODES[error.code][0] === 'caller' || namesWhatToSend(error);
  return STATUS[error.code] ?? (isOfCaller ? 400 : 500);
}

/** A damaged record that was sent, or ranges that must be sent again; what is damaged in the store is no mistake of a caller. */
function namesWhatToSend({ code, data }: Parameters<typeof httpStatusOf>[0]): boolean {
  return code === 'object-damaged' && (data.index !== undefined || data.ranges !== undefined);
}
