// Every way in which a call fails, as the status and the text that the caller gets. In the backup dialect a failure of a handler is 400 with
// a plain text; callers that ask for codes get the table of docs/protocol.md, section 3.
import { HoldfastError } from '../../util/errors.ts';

/** A refusal of the API itself, in its own words. */
export class ApiError extends Error {
  readonly status: number;
  /** Of the catalogue of errors, for callers that ask for codes. */
  readonly code: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(status: number, code: string, message: string, data: Record<string, unknown> = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.data = data;
  }
}

/** Parameters that are wrong, each with its reason. */
export class ParameterError extends ApiError {
  readonly errors: Readonly<Record<string, string>>;

  constructor(errors: readonly (readonly [name: string, reason: string])[]) {
    const [[name, reason] = ['', ''], ...more] = errors;
    const text =
      more.length === 0
        ? `parameter verification failed - '${name}': ${reason}`
        : `parameter verification failed:\n${errors.map(([each, why]) => `- '${each}': ${why}`).join('\n')}`;
    super(400, 'bad-argument', text, { errors: Object.fromEntries(errors) });
    this.errors = Object.fromEntries(errors);
  }
}

export interface Failure {
  readonly status: number;
  readonly code: string;
  readonly text: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly errors: Readonly<Record<string, string>>;
  /** Not foreseen: for the log. */
  readonly isBug: boolean;
}

/** Statuses that the dialect itself has; every other failure of a handler is 400. */
const DIALECT_STATUS: Readonly<Record<string, number>> = {
  'not-authenticated': 401,
  'permission-denied': 403,
  'login-throttled': 429,
};

const CODED_STATUS: Readonly<Record<string, number>> = {
  ...DIALECT_STATUS,
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
  'too-large': 413,
  'too-many': 429,
  'datastore-maintenance': 503,
  'node-offline': 503,
  aborted: 503,
  'disk-full': 507,
  'quota-exceeded': 507,
  'object-damaged': 400,
};

export function failureOf(error: unknown): Failure {
  if (error instanceof ParameterError) return { ...of(error.status, error), errors: error.errors };
  if (error instanceof ApiError) return of(error.status, error);
  if (error instanceof HoldfastError) return of(DIALECT_STATUS[error.code] ?? 400, error);
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return of(400, { code: 'bad-argument', message: (error as Error).message, data: {} });
  }
  const text = 'internal error of the server; its log says more';
  return { ...of(500, { code: 'internal', message: text, data: {} }), isBug: true };
}

/** The status of a failure for a caller that asks for codes. */
export function codedStatus({ status, code }: Failure, error: unknown): number {
  const known = CODED_STATUS[code];
  if (known !== undefined) return known;
  if (error instanceof HoldfastError) return error.family === 'caller' ? 400 : 500;
  return status;
}

function of(
  status: number,
  { code, message, data }: { code: string; message: string; data: Readonly<Record<string, unknown>> },
): Failure {
  return { status, code, text: message, data, errors: {}, isBug: false };
}
