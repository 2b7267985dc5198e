// Webhooks: one HTTP request a message. Redirects are not followed, for they would carry secrets to somebody else; of the answer a little is read.
import { HoldfastError } from '../../util/errors.ts';
import type { NotifyEvent } from '../event.ts';
import type { Target } from '../target.ts';
import type { Secrets, WebhookConfig } from '../target-config.ts';
import { render } from '../template.ts';
import { withDeadline } from './deadline.ts';
import { hide } from './smtp.ts';

export const WEBHOOK_LIMIT_MS = 30_000;
/** What is read of an answer, to show why it failed. */
const MAX_ANSWER_BYTES = 4096;

export function webhookTarget(config: WebhookConfig, secrets: Secrets, limitMs: number = WEBHOOK_LIMIT_MS): Target {
  const hidden = (text: string): string => Object.values(secrets).reduce((shown, each) => hide(shown, each), text);
  return {
    send: async ({ event }, outer) => {
      const { url, init } = requestOf(config, event, secrets);
      // Path and query of a URL often are the secret.
      const place = hidden(url.origin);
      return await withDeadline(`the webhook at ${place}`, limitMs, outer, async (signal) => {
        const response = await fetch(url, { ...init, signal }).catch((error: unknown) => {
          signal.throwIfAborted();
          throw unreachable(error, place, hidden);
        });
        const answer = hidden(await beginningOf(response));
        if (response.ok) return { refused: [] };
        const hint =
          response.status >= 300 && response.status < 400
            ? 'it redirects, which is not followed; give the address that it leads to'
            : answer.replace(/\s+/g, ' ').slice(0, 300);
        throw new HoldfastError('target-failed', `the webhook at ${place} answered ${response.status}: ${hint}`);
      });
    },
  };
}

function requestOf(config: WebhookConfig, event: NotifyEvent, secrets: Secrets): { url: URL; init: RequestInit } {
  const text = (template: string): string => render(template, event, secrets);
  const url = parseUrl(text(config.url));
  const headers = new Headers({ 'user-agent': 'Holdfast' });
  for (const { name, value } of config.headers) headers.set(name, headerValue(text(value)));
  if (config.body !== '' && !headers.has('content-type'))
    headers.set('content-type', /^\s*[{[]/.test(config.body) ? 'application/json' : 'text/plain; charset=utf-8');
  const body = config.method === 'get' ? {} : { body: text(config.body) };
  return { url, init: { method: config.method.toUpperCase(), headers, redirect: 'manual', ...body } };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    // The text may be a secret.
    throw new HoldfastError(
      'bad-argument',
      'the URL of the webhook is none when its template is filled in; it begins with http:// or https://',
    );
  return url;
}

/** UTF-8 as bytes, which is what ntfy and others read; no line breaks. */
function headerValue(text: string): string {
  return Buffer.from(text.replace(/\p{Cc}+/gu, ' ').trim(), 'utf8').toString('latin1');
}

async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    while (length < MAX_ANSWER_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
    }
  } catch {
    // The status is what counts.
  } finally {
    // One that drips for ever is left; a failure to leave it does not matter.
    reader.cancel().catch(() => undefined);
  }
  return Buffer.concat(parts).subarray(0, MAX_ANSWER_BYTES).toString('utf8');
}

function unreachable(error: unknown, place: string, hidden: (text: string) => string): HoldfastError {
  const { message, cause } = error as Error;
  const { code, message: reason } = (cause ?? {}) as { code?: string; message?: string };
  const said = hidden([reason ?? message, code].filter((each) => each !== undefined).join(' ')).slice(0, 300);
  return /CERT|SELF_SIGNED|TLS|SSL|ALTNAME/.test(code ?? '')
    ? new HoldfastError(
        'server-untrusted',
        `the certificate of the webhook at ${place} is not trusted: ${said}; nothing was sent`,
      )
    : new HoldfastError('server-unreachable', `the webhook at ${place} cannot be reached: ${said}`);
}
