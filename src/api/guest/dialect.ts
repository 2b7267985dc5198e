// The guest dialect: port 8006, as Proxmox VE speaks it. The reason phrase of a failure is its text, for clients show nothing else; its body
// always has `data`, for others stumble without.
import type { FastifyReply } from 'fastify';
import { GUEST_CREDENTIALS } from '../../auth/credentials.ts';
import { JSON_TYPE, sendCoded, sendEnvelope } from '../dialect/answer.ts';
import type { Dialect, FailedCall, Format } from '../dialect/dialect.ts';
import { ApiError, type Failure } from '../dialect/failure.ts';
import type { ParameterReading } from '../dialect/read-parameter.ts';
import { guestFailureOf } from './failure.ts';

const MAX_REASON_LENGTH = 500;
const MAX_SHOWN = 64;

const GUEST_READING: ParameterReading = {
  isLenient: true,
  words: {
    missing: 'property is missing and it is not optional',
    unknown: 'property is not defined in schema and the schema does not allow additional properties',
    differs: 'duplicate parameter (already defined in URI) with conflicting values!',
    repeated: 'property is given more than once',
    noInteger: (given) => wrongType('integer', given),
    tooLargeInteger: 'value is too large',
    wrongType,
    tooLong: (limit) => `value may only be ${limit} characters long`,
    tooShort: (limit) => `value must be at least ${limit} characters long`,
    pattern: 'value does not match the regex pattern',
    minimum: (limit) => `value must have a minimum value of ${limit}`,
    maximum: (limit) => `value must have a maximum value of ${limit}`,
    choice: (value, choices) =>
      `value '${String(value).slice(0, MAX_SHOWN)}' does not have a value in the enumeration '${choices.join(', ')}'`,
  },
};

export const GUEST_DIALECT: Dialect = {
  title: 'Holdfast, guest dialect',
  securitySchemes: {
    token: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'PVEAPIToken=USER@REALM!NAME=SECRET' },
    ticket: { type: 'apiKey', in: 'cookie', name: 'PVEAuthCookie' },
  },
  errorAnswer: {
    description: 'what is wrong: as the reason phrase, and in the body',
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['data', 'message'],
          properties: {
            data: { type: 'null' },
            message: { type: 'string' },
            errors: { type: 'object', additionalProperties: { type: 'string' } },
          },
        },
      },
    },
  },
  credentials: GUEST_CREDENTIALS,
  reading: GUEST_READING,
  delays: { unauthorizedMs: 3000, forbiddenMs: 0 },
  notAuthenticated: (shown) => new ApiError(401, 'not-authenticated', shown ? 'authentication failure' : 'No ticket'),
  noSuchMethod: (method, path) => {
    const below = path.replace(/^\/api2\/(json|extjs)(?=\/|$)/, '');
    return new ApiError(501, 'not-found', `Method '${method} ${below === '' ? '/' : below}' not implemented`);
  },
  noSuchFormat: (format) => new ApiError(501, 'bad-argument', `Unsupported output format '${format}'`),
  failureOf: guestFailureOf,
  sendData,
  sendFailure,
};

async function sendData(
  reply: FastifyReply,
  format: Format,
  data: unknown,
  beside: ReadonlyMap<string, unknown>,
): Promise<void> {
  const envelope = format === 'extjs' ? { success: 1 } : {};
  await sendEnvelope(reply, { ...envelope, ...Object.fromEntries(beside) }, data);
}

async function sendFailure(reply: FastifyReply, call: FailedCall, failure: Failure): Promise<void> {
  if (call.wantsCodes) return await sendCoded(reply, failure);
  const { status, text, errors } = failure;
  // Only where there are some: clients take any `errors` for an object with members.
  const named = Object.keys(errors).length === 0 ? {} : { errors };
  if (call.format === 'extjs') {
    const body = { success: 0, status, message: `${text}\n`, data: null, ...named };
    await reply.code(200).type(JSON_TYPE).send(JSON.stringify(body));
    return;
  }
  reply.raw.statusMessage = reasonPhrase(text);
  await reply
    .code(status)
    .type(JSON_TYPE)
    .send(JSON.stringify({ data: null, message: `${text}\n`, ...named }));
}

/** One line of what a status line may have. */
function reasonPhrase(text: string): string {
  const [line = ''] = text.split(/[\r\n]/, 1);
  return line.slice(0, MAX_REASON_LENGTH).replace(/[^\x20-\x7e]/g, '?');
}

function wrongType(type: string, given: unknown): string {
  return `type check ('${type}') failed - got '${String(given).slice(0, MAX_SHOWN).replace(/\p{C}/gu, '?')}'`;
}
