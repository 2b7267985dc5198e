// A mail server for tests, and sockets that behave worse than any.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import type { SmtpConfig } from '../../../src/notify/target-config.ts';

export interface Ending {
  after(ended: () => unknown): void;
}

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly text: string;
}

export interface MailServer {
  readonly port: number;
  readonly mails: Mail[];
  readonly logins: string[];
  readonly server: SMTPServer;
}

/** Takes every mail; with `auth` only after a sign-in with `anna` and `secret pass`. */
export async function mailServer(
  t: Ending,
  options: SMTPServerOptions & { port?: number; host?: string } = {},
): Promise<MailServer> {
  const { port = 0, host = '127.0.0.1', ...more } = options;
  const mails: Mail[] = [];
  const logins: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    hideSTARTTLS: more.key === undefined,
    onAuth: ({ username, password }, _, done) => {
      logins.push(`${username}`);
      if (username === 'anna' && password === 'secret pass') done(null, { user: 'anna' });
      else done(new Error(`535 no ${password}`));
    },
    onData: (stream, session, done) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(parts).toString(),
        });
        done();
      });
    },
    ...more,
  });
  server.on('error', () => undefined);
  server.listen(port, host);
  await once(server.server, 'listening');
  t.after(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { port: (server.server.address() as AddressInfo).port, mails, logins, server };
}

/** A socket that does what `serve` does with each connection. */
export async function socketServer(t: Ending, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export function smtpConfig(port: number, more: Partial<SmtpConfig> = {}): SmtpConfig {
  return {
    type: 'smtp',
    name: 'mail',
    enabled: true,
    server: '127.0.0.1',
    port,
    mode: 'insecure',
    fromAddress: 'backup@example.com',
    mailto: ['admin@example.com'],
    ...more,
  };
}
