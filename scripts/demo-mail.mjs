// A mail server for the part of the demo about nights: takes every mail, and shows what is in it as a mail program does.
import { once } from 'node:events';
import { SMTPServer } from 'smtp-server';

const POLL_MS = 100;

/** `mails` has what came: who it is from and to, its subject, its text and its headers. */
export async function openMailbox() {
  const mails = [];
  const server = new SMTPServer({
    authOptional: true,
    hideSTARTTLS: true,
    onData: (stream, session, done) => {
      const parts = [];
      stream.on('data', (part) => parts.push(part));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({ from: mailFrom.address, to: rcptTo.map(({ address }) => address), ...readMail(Buffer.concat(parts).toString('latin1')) });
        done();
      });
    },
  });
  // A connection that breaks is the sender's business, who tries again.
  server.on('error', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return {
    port: server.server.address().port,
    mails,
    /** The first of those that come after `from` others and have this subject. */
    mail: async (subject, from, timeoutMs) => {
      for (const until = Date.now() + timeoutMs; Date.now() < until; await new Promise((done) => setTimeout(done, POLL_MS))) {
        const found = mails.slice(from).find((mail) => subject.test(mail.subject));
        if (found !== undefined) return found;
      }
      throw new Error(`no mail about ${subject} came, but: ${mails.map((mail) => mail.subject).join('; ')}`);
    },
    close: () => new Promise((done) => server.close(done)),
  };
}

/** Of a mail as bytes, each a character: its headers, and the part that is plain text. */
function readMail(raw) {
  const { headers, body } = split(raw);
  const boundary = /boundary="?([^";]+)"?/.exec(headers['content-type'] ?? '')?.[1];
  const parts = boundary === undefined ? [{ headers, body }] : body.split(`--${boundary}`).slice(1, -1).map((part) => split(part.replace(/^\r\n/, '')));
  const plain = parts.find((part) => (part.headers['content-type'] ?? 'text/plain').startsWith('text/plain'));
  return { headers, subject: words(headers.subject ?? ''), text: plain === undefined ? '' : decode(plain).replaceAll('\r\n', '\n').trimEnd() };
}

function split(raw) {
  const end = raw.indexOf('\r\n\r\n');
  const lines = raw.slice(0, end).replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  return { headers, body: raw.slice(end + 4) };
}

function decode({ headers, body }) {
  const encoding = (headers['content-transfer-encoding'] ?? '7bit').toLowerCase();
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString('utf8');
  return encoding === 'quoted-printable' ? quoted(body.replace(/=\r\n/g, '')) : Buffer.from(body, 'latin1').toString('utf8');
}

function quoted(text) {
  return Buffer.from(text.replace(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1').toString('utf8');
}

/** Words that are not ASCII, as headers have them. */
function words(text) {
  return text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, how, word) => (how.toLowerCase() === 'b' ? Buffer.from(word, 'base64').toString('utf8') : quoted(word.replaceAll('_', ' '))));
}
