// Answers of the bulk listener: bytes, JSON, and errors with their status (docs/protocol.md, section 3).
import type { ServerResponse } from 'node:http';
import { HoldfastError } from '../../util/errors.ts';
import { httpStatusOf } from '../../util/http-status.ts';

/** The HTTP status of an error; of a mistake of ours 500. */
export function statusOf(error: unknown): number {
  return error instanceof HoldfastError ? httpStatusOf(error) : 500;
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
