// Mail. One connection a message, closed whatever happens: a server that drips byte by byte is left at the deadline. A mail that some receivers
// refuse is accepted by the others, and they do not get it again.
import MailComposer from 'nodemailer/lib/mail-composer';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { HoldfastError } from '../../util/errors.ts';
import { html, plainText } from '../render.ts';
import type { Message, SendResult, Target } from '../target.ts';
import type { SmtpConfig } from '../target-config.ts';
import { withDeadline } from './deadline.ts';

const PORTS = { insecure: 25, starttls: 587, tls: 465 } as const;

export interface SendLimits {
  readonly connectMs: number;
  /** Without a byte. */
  readonly idleMs: number;
  /** For all of it. */
  readonly totalMs: number;
}
export const SMTP_LIMITS: SendLimits = { connectMs: 15_000, idleMs: 30_000, totalMs: 60_000 };

export interface SmtpOptions {
  readonly limits?: SendLimits;
  /** Certificates that are trusted besides those of the system, as PEM. */
  readonly ca?: string;
}

/** `password` belongs to the user name of the configuration. */
export function smtpTarget(config: SmtpConfig, password: string | undefined, options: SmtpOptions = {}): Target {
  const { limits = SMTP_LIMITS } = options;
  const hidden = (text: string): string => hide(text, password, config.username);
  return {
    send: async (message, outer) => {
      // Whoever was taken out of the list meanwhile is not written to.
      const receivers = config.mailto.filter((each) => message.remaining?.includes(each) ?? true);
      if (receivers.length === 0) return { refused: [] };
      const mail = await compose(config, message, receivers);
      const place = `${config.server}:${config.port ?? PORTS[config.mode]}`;
      return await withDeadline(`sending mail through ${place}`, limits.totalMs, outer, async (signal) => {
        const connection = connectionOf(config, limits, options.ca);
        const cut = (): void => connection.close();
        signal.addEventListener('abort', cut, { once: true });
        try {
          const { refused } = await converse(connection, config, password, receivers, mail, signal);
          return { refused: refused.map((each) => ({ ...each, reason: hidden(each.reason).slice(0, 500) })) };
        } catch (error) {
          signal.throwIfAborted();
          throw smtpError(error, place, hidden);
        } finally {
          signal.removeEventListener('abort', cut);
          connection.close();
        }
      });
    },
  };
}

function connectionOf(config: SmtpConfig, limits: SendLimits, ca: string | undefined): SMTPConnection {
  return new SMTPConnection({
    host: config.server,
    port: config.port ?? PORTS[config.mode],
    secure: config.mode === 'tls',
    requireTLS: config.mode === 'starttls',
    ignoreTLS: config.mode === 'insecure',
    connectionTimeout: limits.connectMs,
    greetingTimeout: limits.connectMs,
    dnsTimeout: limits.connectMs,
    socketTimeout: limits.idleMs,
    socketCloseTimeout: 0,
    maxResponseSize: 64 * 1024,
    logger: false,
    tls: { minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) },
  });
}

async function converse(
  connection: SMTPConnection,
  config: SmtpConfig,
  password: string | undefined,
  receivers: readonly string[],
  mail: Buffer,
  signal: AbortSignal,
): Promise<SendResult> {
  return await new Promise((resolve, reject) => {
    // It says some failures as an event, whatever it is asked at that time; and when it is closed it says nothing.
    connection.on('error', reject);
    connection.on('end', () => reject(new Error('the mail server ended the connection')));
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    const send = (): void =>
      connection.send({ from: config.fromAddress, to: [...receivers] }, mail, (error, info) => {
        if (error) reject(error);
        else resolve({ refused: refusedOf(info?.rejectedErrors ?? []) });
      });
    connection.connect((error) => {
      if (error) reject(error);
      else if (config.username === undefined) send();
      else
        connection.login({ credentials: { user: config.username, pass: password ?? '' } }, (refused) => {
          if (refused) reject(refused);
          else send();
        });
    });
  });
}

function refusedOf(
  errors: readonly { readonly recipient?: unknown; readonly message: string }[],
): SendResult['refused'] {
  return errors.map(({ recipient, message }) => ({ receiver: String(recipient), reason: message }));
}

async function compose(config: SmtpConfig, message: Message, receivers: readonly string[]): Promise<Buffer> {
  const { event } = message;
  const domain = config.fromAddress.slice(config.fromAddress.indexOf('@') + 1);
  const mail = new MailComposer({
    from: { name: config.author ?? `Holdfast on ${event.node}`, address: config.fromAddress },
    to: receivers.map((address) => ({ name: '', address })),
    subject: event.subject,
    text: `${plainText(event)}\n`,
    html: html(event),
    date: new Date(event.time * 1000),
    // The same at each attempt, so that a mail whose acceptance got lost is known for what it is.
    messageId: `<${message.id}@${domain}>`,
    headers: {
      'Auto-Submitted': 'auto-generated',
      'X-Holdfast-Type': event.type,
      'X-Holdfast-Severity': event.severity,
      ...(event.severity === 'error' && { 'X-Priority': '1 (Highest)', Importance: 'high' }),
    },
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return await mail.compile().build();
}

function smtpError(error: unknown, place: string, hidden: (text: string) => string): HoldfastError {
  const { code, message, responseCode } = error as { code?: string; message: string; responseCode?: number };
  const said = hidden(message).slice(0, 500);
  const make = (kind: ConstructorParameters<typeof HoldfastError>[0], what: string): HoldfastError =>
    // No cause: what the library keeps beside the message holds what was sent.
    new HoldfastError(kind, what, { data: { ...(responseCode !== undefined && { responseCode }) } });
  if (code === 'EAUTH')
    return make('not-authenticated', `mail server ${place} did not take user name and password: ${said}`);
  if (code === 'ETIMEDOUT') return make('timed-out', `mail server ${place} did not answer in time: ${said}`);
  if (code === 'ETLS' || /certificate|self.signed|altname|SSL|TLS/i.test(message))
    return make('server-untrusted', `the line to mail server ${place} cannot be protected: ${said}; nothing was sent`);
  if (code === 'ECONNECTION' || code === 'EDNS' || code === 'ESOCKET' || /^E[A-Z]+$/.test(code ?? '') === false)
    return make('server-unreachable', `mail server ${place} cannot be reached: ${said}`);
  return make('target-failed', `mail server ${place} did not take the mail: ${said}`);
}

/** Servers repeat what they were sent, encoded as it was. `user` signs in with the secret. */
export function hide(text: string, secret: string | undefined, user: string | undefined = undefined): string {
  if (secret === undefined || secret === '') return text;
  const base64 = (whole: string): string => Buffer.from(whole).toString('base64');
  const signIn = user === undefined ? [] : [base64(`\0${user}\0${secret}`)];
  const inJson = JSON.stringify(secret).slice(1, -1);
  return [...signIn, secret, inJson, base64(secret), encodeURIComponent(secret)].reduce(
    (shown, each) => shown.replaceAll(each, '[hidden]'),
    text,
  );
}
