// Errors of the server as errors of the catalogue here: by code where there is one, by status otherwise.
import { ERROR_CODES, type ErrorCode, HoldfastError } from '../../util/errors.ts';
import { describeText } from './foreign-answer.ts';

/** Most bytes of an error's text that are read. */
export const MAX_ERROR_BYTES = 64 * 1024;

/** The media type with which API calls ask for errors with their code. */
export const ERROR_MEDIA_TYPE = 'application/vnd.holdfast.error+json';

/** The error for an answer that is none of success. `what` names the call, `server` who answered. */
export function answerError(status: number, text: string, what: string, server = 'the server'): HoldfastError {
  const told = errorOf(text);
  if (told?.data.noSuchMethod === true)
    return new HoldfastError(
      'protocol-failed',
      `${server} does not know ${what}: it is another version of Holdfast than this, most likely an older one; bring both to the same`,
      { data: { status } },
    );
  if (told !== undefined) {
    const code = told.code in ERROR_CODES ? (told.code as ErrorCode) : 'protocol-failed';
    const message = code === told.code ? told.message : `${told.message} (${told.code})`;
    return new HoldfastError(code, printable(message), { data: { ...told.data, status } });
  }
  const said = text.trim() === '' ? '' : `: ${printable(describeText(text))}`;
  if (status === 401)
    return new HoldfastError('protocol-failed', `${server} refused user or secret for ${what}${said}`, {
      data: { status },
    });
  return new HoldfastError(
    'protocol-failed',
    `${server} answered ${what} with status ${status}${said}; ${adviceOf(status)}`,
    {
      data: { status },
    },
  );
}

function adviceOf(status: number): string {
  if (status >= 502 && status <= 504) return 'that is a proxy which does not reach its server: look at both';
  return 'a Holdfast server says more than that: look at host and port of the address, and at proxies between';
}

interface ToldError {
  readonly code: string;
  readonly message: string;
  readonly data: Record<string, unknown>;
}

function errorOf(text: string): ToldError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (value === null || typeof value !== 'object') return undefined;
  const { code, message, data } = value as Record<string, unknown>;
  if (typeof code !== 'string' || typeof message !== 'string') return undefined;
  return { code, message, data: data !== null && typeof data === 'object' ? (data as Record<string, unknown>) : {} };
}

/** What a server says may reach a terminal: no control characters, and not without end. */
function printable(text: string): string {
  return text.slice(0, 2000).replace(/\p{Cc}+/gu, ' ');
}

/** Of undici's own errors those of a connection that broke or could not be made. */
const BROKEN = new Set([
  'SOCKET',
  'CONNECT_TIMEOUT',
  'HEADERS_TIMEOUT',
  'BODY_TIMEOUT',
  'INFO',
  'RES_CONTENT_LENGTH_MISMATCH',
]);

/** Whether a call failed because the line broke, or could not be made, or the server is ending: the same call may be made again. */
export function isBrokenLine(error: unknown): boolean {
  if (error instanceof HoldfastError) return error.code === 'aborted' && error.data.status === 503;
  const code = codeOf(error);
  if (code.startsWith('UND_ERR_')) return BROKEN.has(code.slice('UND_ERR_'.length));
  return /^(E[A-Z]+|EAI_[A-Z]+)$/.test(code) && code !== 'EPROTO';
}

/** What is no broken line and none of our errors: something else answered than a server of this protocol, or it is our bug. */
export function lineError(error: unknown, server = 'what answered'): unknown {
  const isForeign = /^(EPROTO$|ERR_SSL|HPE_|UND_ERR_)/.test(codeOf(error));
  // Its code is often missing.
  if (!isForeign && (error as Error | null)?.name !== 'HTTPParserError') return error;
  return noHttp(reasonOf(error as Error), server, error);
}

/** What answered is no server of HTTP over TLS; `reason` says what shows that. */
export function noHttp(reason: string, server = 'what answered', cause?: unknown): HoldfastError {
  return new HoldfastError(
    'protocol-failed',
    `${server} does not speak HTTP over TLS: ${reason}; look at host and port of the address`,
    { cause },
  );
}

/** OpenSSL's message has places in its sources, too. */
function reasonOf(error: Error & { readonly reason?: unknown }): string {
  return printable(typeof error.reason === 'string' ? error.reason : error.message);
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}
