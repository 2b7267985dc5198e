// Errors as plain values, for the way between threads and processes: those of the catalogue keep code and data.
import { ERROR_CODES, type ErrorCode, HoldfastError } from './errors.ts';

export interface PlainError {
  readonly code: string | undefined;
  readonly message: string;
  readonly data: Record<string, unknown>;
  readonly stack: string | undefined;
  readonly cause: PlainError | undefined;
}

export function plainError(error: unknown): PlainError {
  const known = error instanceof HoldfastError;
  const plain = error instanceof Error ? error : new Error(String(error));
  return {
    code: known ? error.code : undefined,
    message: plain.message,
    data: known ? { ...error.data } : {},
    stack: plain.stack,
    cause: plain.cause === undefined ? undefined : plainError(plain.cause),
  };
}

export function reviveError(plain: PlainError): Error {
  const cause = plain.cause === undefined ? undefined : reviveError(plain.cause);
  if (plain.code !== undefined && plain.code in ERROR_CODES) {
    return new HoldfastError(plain.code as ErrorCode, plain.message, { cause, data: plain.data });
  }
  const error = new Error(plain.message, { cause });
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
