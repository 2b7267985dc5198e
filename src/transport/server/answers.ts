// Answers of the bulk listener: bytes, JSON, and errors with their status (docs/protocol.md, section 3).
import { HoldfastError } from '../../util/errors.ts';
import { httpStatusOf } from '../../util/http-status.ts';
import type { CallAnswer } from './call-answer.ts';

export const BYTES_TYPE = 'application/octet-stream';
export const JSON_TYPE = 'application/json';

/** The HTTP status of an error; of a mistake of ours 500. */
export function statusOf(error: unknown): number {
  return error instanceof HoldfastError ? httpStatusOf(error) : 500;
}

/** What an error says to a client: of a bug only that it is one. */
export function errorBody(error: unknown): { code: string; message: string; data: Record<string, unknown> } {
  if (error instanceof HoldfastError) return { code: error.code, message: error.message, data: { ...error.data } };
  return { code: 'internal', message: 'the server made a mistake; its log says more', data: {} };
}

export function answerJson(answer: CallAnswer, status: number, body: unknown): void {
  answerBytes(answer, status, JSON_TYPE, Buffer.from(JSON.stringify(body)));
}

export function answerBytes(answer: CallAnswer, status: number, type: string, body: Uint8Array): void {
  answer.begin(status, type, body.length, body);
  answer.end();
}
