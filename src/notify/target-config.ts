// Targets as they are set up. Secrets are no part of it: they are kept apart, so that whatever shows a target cannot show them.
import { HoldfastError } from '../util/errors.ts';
import { requireTemplate } from './template.ts';

interface BaseConfig {
  readonly name: string;
  readonly comment?: string | undefined;
  readonly enabled: boolean;
}

/** How the line to a mail server is protected: not at all, from a command on, from the first byte on. */
export type SmtpMode = 'insecure' | 'starttls' | 'tls';

export interface SmtpConfig extends BaseConfig {
  readonly type: 'smtp';
  readonly server: string;
  /** Without it 25, 587 or 465 by the mode. */
  readonly port?: number | undefined;
  readonly mode: SmtpMode;
  /** Its password is the secret `password`. */
  readonly username?: string | undefined;
  readonly fromAddress: string;
  /** Shown as who sent it. */
  readonly author?: string | undefined;
  readonly mailto: readonly string[];
}

/** URL, values of headers and body are templates. */
export interface WebhookConfig extends BaseConfig {
  readonly type: 'webhook';
  readonly url: string;
  readonly method: 'post' | 'put' | 'get';
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly body: string;
}

export type TargetConfig = SmtpConfig | WebhookConfig;
export type Secrets = Readonly<Record<string, string>>;

export const TARGET_LIMITS = {
  targets: 32,
  mailto: 50,
  headers: 32,
  text: 1024,
  body: 16 * 1024,
  secrets: 32,
} as const;

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{1,31}$/;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9])?)$/;
/** Not what RFC 5322 allows, but what mail servers take: no spaces, quotes, angle brackets or control characters. */
const MAIL = /^[^\s<>"(),:;\\[\]@\p{Cc}]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?$/u;
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** These belong to the line, not to the message. */
const HEADERS_OF_THE_LINE =
  /^(host|connection|content-length|transfer-encoding|upgrade|expect|keep-alive|te|trailer)$/i;
const SECRET = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/;
const CONTROL = /\p{Cc}/u;

/** @throws `bad-name`. */
export function requireName(name: string, what: 'target' | 'matcher'): void {
  if (NAME.test(name)) return;
  throw new HoldfastError(
    'bad-name',
    `${JSON.stringify(name.slice(0, 64))} is no name of a ${what}: 2 to 32 letters, digits, "_", "-" and ".", not beginning with "-" or "."`,
  );
}

/** @throws `bad-name`, `bad-argument`, `too-many`, `too-large`. */
export function requireSound(config: TargetConfig, secrets: Secrets): void {
  requireName(config.name, 'target');
  requireText(config.comment ?? '', 'a comment');
  if (config.type === 'smtp') requireSmtp(config, secrets);
  else requireWebhook(config, secrets);
  requireCount(Object.keys(secrets), TARGET_LIMITS.secrets, 'secrets');
  for (const [name, value] of Object.entries(secrets)) {
    if (!SECRET.test(name)) throw bad(`a secret is named with letters, digits, "_" and "-"`);
    if (value === '' || value.length > 4096 || CONTROL.test(value))
      throw bad(`the secret ${name} must be one line of 1 to 4096 characters`);
  }
}

function requireSmtp(config: SmtpConfig, secrets: Secrets): void {
  const { server, port, fromAddress, mailto, username, author } = config;
  if (!HOST.test(server) || server.length > 253)
    throw bad(`${shown(server)} is no name or address of a mail server; write it like mail.example.com`);
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65535))
    throw bad('the port of a mail server is a number from 1 to 65535');
  if (mailto.length === 0) throw bad('name at least one address that mail goes to');
  requireCount(mailto, TARGET_LIMITS.mailto, 'addresses');
  for (const address of [fromAddress, ...mailto])
    if (!MAIL.test(address)) throw bad(`${shown(address)} is no mail address; write it like admin@example.com`);
  requireText(username ?? '', 'a user name');
  requireText(author ?? '', 'an author');
  if (username === '') throw bad('the user name of a mail server cannot be empty; leave it out when there is none');
  if ((username === undefined) !== (secrets.password === undefined))
    throw bad('a user name and a password of a mail server belong together: give both, or neither');
}

function requireWebhook({ url, headers, body, method }: WebhookConfig, secrets: Secrets): void {
  requireText(url, 'a URL');
  // One that is all secret, as chat services give them out, is looked at when it is called.
  if (!/^https?:\/\/[^\s/@{]/i.test(url) && !/^\{\{\s*secrets\./.test(url))
    throw bad(`${shown(url)} is no URL of a webhook; it begins with http:// or https:// and has no user in it`);
  if (/^https?:\/\/[^/?#]*@/i.test(url))
    throw bad('a URL with a password would be shown; put it into a secret and write {{secrets.NAME}}');
  requireCount(headers, TARGET_LIMITS.headers, 'headers');
  for (const { name, value } of headers) {
    if (!HEADER.test(name) || HEADERS_OF_THE_LINE.test(name)) throw bad(`${shown(name)} is no header that can be set`);
    requireText(value, `the header ${name}`);
  }
  if (body.length > TARGET_LIMITS.body)
    throw new HoldfastError('too-large', `the body of a webhook takes at most ${TARGET_LIMITS.body} characters`);
  for (const template of [url, body, ...headers.map(({ value }) => value)]) requireTemplate(template, secrets);
  if (method === 'get' && body !== '') throw bad('a GET has no body; take post or put, or leave the body out');
}

function requireText(text: string, what: string): void {
  if (text.length > TARGET_LIMITS.text)
    throw new HoldfastError('too-large', `${what} takes at most ${TARGET_LIMITS.text} characters`);
  if (CONTROL.test(text)) throw bad(`${what} is one line, without control characters`);
}

function requireCount(values: readonly unknown[], max: number, what: string): void {
  if (values.length > max) throw new HoldfastError('too-many', `a target takes at most ${max} ${what}`);
}

function bad(message: string): HoldfastError {
  return new HoldfastError('bad-argument', message);
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
