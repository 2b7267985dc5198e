// Answers of the bulk listener: bytes, JSON, and errors with their status (docs/protocol.md, section 3).
import type { ServerResponse } from 'node:http';
import { type ErrorCode, HoldfastError } from '../../util/errors.ts';

const STATUS: Partial<Record<ErrorCode, number>> = {
  'not-authenticated': 401,
  'not-owner': 403,
  protected: 403,
  'retention-locked': 403,
  'not-found': 404,
  'session-gone': 404,
  'datastore-locked': 409,
  exists: 409,
  'too-large': 413,
  'too-many': 429,
  'datastore-maintenance': 503,
  aborted: 503,
  'disk-full': 507,
  'quota-exceeded': 507,
};

/** The HTTP status of an error. That a client's record is damaged is the client's mistake; of stored ones it is ours. */
export function statusOf(error: unknown, isOfClient = false): number {
  if (!(error instanceof HoldfastError)) return 500;
  const status = STATUS[error.code];
  if (status !== undefined) return status;
  return error.family === 'caller' || (isOfClient && error.code === 'object-damaged') ? 400 : 500;
}

/** What an error says to a client: of a bug only that it is one. */
export function errorBody(error: unknown): { code: string; message: string; data: Record<string, unknown> } {
  if (error instanceof HoldfastError) return { code: error.code, message: error.message, data: { ...error.data } };
  return { code: 'internal', message: 'the server made a mistake; its log says more', data: {} };
}

export function answerJson(response: ServerResponse, status: number, body: unknown): void {
  answerBytes(response, status, 'application/json', Buffer.from(JSON.stringify(body)));
}

export function answerBytes(response: ServerResponse, status: number, type: string, body: Uint8Array): void {
  response.writeHead(status, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}
