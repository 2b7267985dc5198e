// Every way in which a call fails, as the status and the text that the caller gets. In the backup dialect a failure of a handler is 400 with
// a plain text; callers that ask for codes get the table of docs/protocol.md, section 3.
import { type ErrorCode, HoldfastError } from '../../util/errors.ts';
import { httpStatusOf } from '../../util/http-status.ts';

/** A refusal of the API itself, in its own words. */
export class ApiError extends Error {
  readonly status: number;
  /** For callers that ask for codes. */
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(status: number, code: ErrorCode, message: string, data: Record<string, unknown> = {}) {
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
  /** `internal` is not foreseen: for the log. */
  readonly code: ErrorCode | 'internal';
  readonly text: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly errors: Readonly<Record<string, string>>;
}

/** Codes whose status the dialect has too; every other failure of a handler is 400. */
const IN_DIALECT: readonly ErrorCode[] = ['not-authenticated', 'permission-denied', 'login-throttled'];

export function failureOf(error: unknown): Failure {
  if (error instanceof ParameterError) return { ...of(error.status, error), errors: error.errors };
  if (error instanceof ApiError) return of(error.status, error);
  if (error instanceof HoldfastError) return of(IN_DIALECT.includes(error.code) ? httpStatusOf(error) : 400, error);
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return of(400, { code: 'bad-argument', message: (error as Error).message, data: {} });
  }
  return of(500, { code: 'internal', message: 'internal error of the server; its log says more', data: {} });
}

/** The status of a failure for a caller that asks for codes. */
export function codedStatus({ code, data }: Failure): number {
  return code === 'internal' ? 500 : httpStatusOf({ code, data });
}

function of(status: number, { code, message, data }: Pick<Failure, 'code' | 'data'> & { message: string }): Failure {
  return { status, code, text: message, data, errors: {} };
}
