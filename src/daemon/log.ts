// The server's own log: a JSON line an event, to standard error, where systemd or a container takes it. Secrets are taken out on the way,
// whoever logged them.
import { type DestinationStream, destination, type Logger, pino } from 'pino';

/** Without `child`: what is bound to one is not looked at. */
export type Log = Pick<Logger, 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'>;
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const HIDDEN = '[hidden]';
const SECRET_NAME = /authorization|cookie|passw|passphrase|token|ticket|csrf|secret|private|keyfile|recovery|otp/i;
/** Names that hold one of those words, and no secret. */
const HARMLESS_NAME = /^(tokenid|tokenname|token-name|tokenName)$/;
/** API tokens and tickets as they stand in headers, URLs and messages. */
const SECRET_TEXTS: readonly [RegExp, string][] = [
  [/\b(P[VB]EAPIToken|PBSAPIToken)[= ][^\s,;"']+/g, `$1=${HIDDEN}`],
  [/\b(P[VB]EAuthCookie|__Host-PBSAuthCookie|PBSAuthCookie)=[^\s;"']+/g, `$1=${HIDDEN}`],
  [/\bP[BV][SE]:[^\s:]{1,80}(?::[^\s:]{1,80})?:[0-9A-Fa-f]{8}::[A-Za-z0-9+/=%_-]+/g, HIDDEN],
  [/\bBearer [A-Za-z0-9._~+/=-]+/g, `Bearer ${HIDDEN}`],
  [/([?&](?:password|ticket|token|csrf\w*|otp)=)[^&\s"']*/gi, `$1${HIDDEN}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)/gs, HIDDEN],
];
const MAX_DEPTH = 6;
const MAX_MEMBERS = 100;
const MAX_TEXT = 16 * 1024;

/** `stream` takes whole lines; standard error without it. */
export function createLog(level: LogLevel, stream: DestinationStream = destination({ dest: 2, sync: true })): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (value) => withoutSecrets(value, 0) as typeof value,
      },
      // Errors are plain when they come here.
      serializers: { err: (error: unknown) => error },
      hooks: {
        logMethod(parts, method) {
          // The first, when it is an object, goes through `formatters`; the others are put into the message.
          const hidden = parts.map((part, place) =>
            place === 0 && typeof part === 'object' ? part : withoutSecrets(part, 0),
          );
          method.apply(this, hidden as typeof parts);
        },
      },
    },
    stream,
  );
}

/** A copy without secrets, of bounded depth and size. */
export function withoutSecrets(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return hideTexts(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '…';
  if (Array.isArray(value)) return value.slice(0, MAX_MEMBERS).map((each) => withoutSecrets(each, depth + 1));
  if (value instanceof Error) return errorMembers(value, depth);
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  const members = Object.entries(value).slice(0, MAX_MEMBERS);
  return Object.fromEntries(
    members.map(([name, member]) => [
      name,
      SECRET_NAME.test(name) && !HARMLESS_NAME.test(name) ? HIDDEN : withoutSecrets(member, depth + 1),
    ]),
  );
}

function errorMembers(error: Error, depth: number): Record<string, unknown> {
  const { code, data } = error as { code?: unknown; data?: unknown };
  return {
    type: error.name,
    message: hideTexts(error.message),
    ...(typeof code === 'string' && { code }),
    ...(data !== undefined && { data: withoutSecrets(data, depth + 1) }),
    stack: hideTexts(error.stack ?? ''),
    ...(error.cause !== undefined && { cause: withoutSecrets(error.cause, depth + 1) }),
  };
}

function hideTexts(text: string): string {
  const bounded = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (cut)` : text;
  return SECRET_TEXTS.reduce((shown, [pattern, replacement]) => shown.replace(pattern, replacement), bounded);
}
