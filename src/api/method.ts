// One method of the API: a schema for its parameters and one for its answer, who may call it, what it does. Validation, types, OpenAPI and
// the tests that walk all methods come from this one description.

import type { Static, TObject, TSchema } from 'typebox';
import type { Identity } from '../auth/authenticator.ts';
import type { Privilege } from '../auth/privileges.ts';
import type { AgentCaller } from '../nodes/nodes.ts';
import type { AuthId } from '../schema/auth-id.ts';
import type { ByteAnswer } from './downloads/byte-answer.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { ApiServices, CommonServices, MessageReceiver, MessageSocket } from './services.ts';
import type { SnapshotViews } from './snapshots/snapshot-views.ts';
import type { Verdicts } from './snapshots/verdicts.ts';
import type { Forecasts } from './stores/forecast.ts';

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** What the caller needs on a path of the access control lists. */
export interface PrivilegeRule {
  readonly path: string;
  readonly anyOf: readonly Privilege[];
  /** There they are as good. */
  readonly orPath?: string;
  /** Enough for what the caller owns: the handler is told by `Call.onlyOwn`, and looks. */
  readonly orOwner?: Privilege;
  /** This user may too, as itself and not through a token. */
  readonly orUser?: string;
}

/** What stands in the path of a call for the names in braces, as it came. */
export type InPath = Readonly<Record<string, string>>;

/**
 * Anybody; anybody who is signed in; who has a privilege on what the path names, looked at before any parameter is; or who has one by all
 * parameters, when those have been read.
 */
export type AccessRule<Parameters> =
  | { readonly world: true }
  | { readonly auth: true }
  | { readonly onPath: (inPath: InPath) => PrivilegeRule }
  | ((parameters: Parameters) => PrivilegeRule);

/** What a handler knows of the request, and can add to the answer. */
export interface BaseCall {
  readonly services: CommonServices;
  /** Undefined for methods that the world may call. */
  readonly identity: Identity | undefined;
  readonly address: string;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
  /** The caller was let in for what it owns, and for nothing else. */
  readonly onlyOwn: boolean;
  /** Of a method that takes bytes. */
  readonly body: Buffer;
  /** A member of the answer beside `data`. */
  attach(name: 'total' | 'digest' | 'active' | 'success' | 'status', value: unknown): void;
  /** A header of the request, where there is one of that name. */
  requestHeader(name: string): string | undefined;
  /** A header of the answer. */
  header(name: string, value: string): void;
}

/** Of the backup dialect. */
export interface Call extends BaseCall {
  readonly services: ApiServices;
  readonly views: SnapshotViews;
  readonly downloads: Downloads;
  readonly verdicts: Verdicts;
  readonly forecasts: Forecasts;
}

export interface Method<
  Parameters extends TObject = TObject,
  Returns extends TSchema = TSchema,
  CallOf extends BaseCall = Call,
> {
  readonly method: HttpMethod;
  /** Below `/api2/json`: `/access/users/{userid}`. Each part in braces is a parameter. */
  readonly path: string;
  readonly description: string;
  readonly access: AccessRule<Static<Parameters>>;
  /** Of the path, the query and the body, in one. */
  readonly parameters: Parameters;
  /** Of `data`. */
  readonly returns: Returns;
  /** Of answers that are no JSON. */
  readonly media?: readonly string[];
  /** The body is bytes and no parameters; the handler finds them in `Call.body`. */
  readonly takesBytes?: true;
  /** The last name in braces takes what is left of the path, slashes and all. */
  readonly takesRestOfPath?: true;
  /** Most bytes of a body, where the usual 512 KiB are too few. */
  readonly maxBodyBytes?: number;
  /** A `ByteAnswer` in place of data where `media` says so, and for lists that are too long to be held. */
  handler(
    call: CallOf,
    parameters: Static<Parameters>,
  ): Promise<Static<Returns> | ByteAnswer> | Static<Returns> | ByteAnswer;
  /** Of a GET that can become a WebSocket: takes it over, after the handler let the call through. */
  upgrade?(
    call: Pick<CallOf, 'services'>,
    parameters: Static<Parameters>,
    caller: AgentCaller,
    socket: MessageSocket,
  ): MessageReceiver | undefined;
}

/** A method whose parameters the table of all methods does not know. */
// biome-ignore lint/suspicious/noExplicitAny: parameters are checked against the schema that stands beside the handler
export type AnyMethod = Method<any, any, any>;

export function defineMethod<Parameters extends TObject, Returns extends TSchema>(
  method: Method<Parameters, Returns>,
): Method<Parameters, Returns> {
  return method;
}

/** The privileges that a method asks for; undefined when it asks for none. */
export function ruleOf({ access }: AnyMethod, parameters: InPath): PrivilegeRule | undefined {
  if (typeof access === 'function') return access(parameters);
  return 'onPath' in access ? access.onPath(parameters) : undefined;
}

/** Who calls a method that is not for the world. */
export function callerOf({ identity }: Pick<BaseCall, 'identity'>): AuthId {
  if (identity === undefined) throw new Error('a method for the world asked who calls');
  return identity.authId;
}

/** The names in braces, in order. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name as string);
}
