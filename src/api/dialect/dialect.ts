// What the dialects of the API differ in: how callers show who they are, how parameters are read and refused, and the words and shapes of
// answers. Routing, access rules, limits and the descriptions of methods are the same for all of them.
import type { FastifyReply } from 'fastify';
import type { CredentialStyle } from '../../auth/credentials.ts';
import type { ApiError, Failure } from './failure.ts';
import type { ParameterReading } from './read-parameter.ts';

export type Format = 'json' | 'extjs';

/** Waits of a dialect: a refusal of the caller comes no earlier than this after the call, one of the right this much later. */
export interface Delays {
  readonly unauthorizedMs: number;
  readonly forbiddenMs: number;
}

export interface FailedCall {
  readonly format: Format;
  readonly wantsCodes: boolean;
  /** A method was found: its errors are labelled as its answers are, and come in the envelope that was asked for. */
  readonly isRouted: boolean;
}

export interface Dialect {
  /** For the OpenAPI document, as are the next two. */
  readonly title: string;
  readonly securitySchemes: Readonly<Record<string, object>>;
  readonly errorAnswer: object;
  readonly credentials: CredentialStyle;
  readonly reading: ParameterReading;
  readonly delays: Delays;
  /** Of whoever is not known; `shown` when there was a ticket or a token. */
  notAuthenticated(shown: boolean): ApiError;
  noSuchMethod(method: string, path: string): ApiError;
  noSuchFormat(format: string): ApiError;
  failureOf(error: unknown): Failure;
  /** `beside` stands in the answer beside `data`. */
  sendData(reply: FastifyReply, format: Format, data: unknown, beside: ReadonlyMap<string, unknown>): Promise<void>;
  sendFailure(reply: FastifyReply, call: FailedCall, failure: Failure): Promise<void>;
}
