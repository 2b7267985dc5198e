// The part of the demo about the server: a backup and a restore through it with an API token that may do nothing else, and what this token
// does not get to see. `tools` are what scripts/demo.mjs shows and runs things with.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';

const READY_TIMEOUT_MS = 20_000;

export async function server({ work, image, heading, say, check, rows, holdfast, run, start, environment, mib, seconds }) {
  heading('A server: backup and restore through it, with a token that may do no more');
  const { api, repository, stop } = await startServer({ work, say, start });
  try {
    await api('POST', '/config/datastore', { name: 'offsite', path: join(work, 'offsite') });
    for (const user of ['alice', 'bob']) {
      await api('POST', '/access/users', { userid: `${user}@local` });
      await api('PUT', '/access/acl', { path: '/datastore/offsite', role: 'DatastoreBackup', 'auth-id': `${user}@local` });
    }
    const as = async (user) => {
      const { tokenid, value } = await api('POST', `/access/users/${user}@local/token/nightly`, {});
      await api('PUT', '/access/acl', { path: '/datastore/offsite', role: 'DatastoreBackup', 'auth-id': tokenid });
      return { address: repository(tokenid), secret: value };
    };
    const [alice, bob] = [await as('alice'), await as('bob')];
    say('two users, each with an API token of the role DatastoreBackup');
    const using = async ({ address, secret }, args, options) => {
      environment.HOLDFAST_TOKEN_SECRET = secret;
      return await holdfast(address, args, options);
    };
    const backup = async (step) => {
      const { said, ms } = await using(alice, ['backup', '--group', 'vm/101', `disk0.img:${image}`]);
      rows.push([step, seconds(ms), mib(said.bytesRead), mib(said.bytesNew), '', '', '']);
      return said;
    };
    await backup('to a server over TLS');
    const again = await backup('to a server, nothing changed');
    check(again.bytesNew === 0, 'of an image that the server knows nothing is sent again');
    const back = join(work, 'from-server.img');
    const { ms } = await using(alice, ['restore', 'vm/101/latest', 'disk0.img', back]);
    const same = (await run('cmp', [image, back], { quiet: true })).code === 0;
    rows.push(['restore from the server', seconds(ms), '', '', '', '', same ? 'identical' : 'DIFFERENT']);
    check(same, 'what comes back over TLS is the image, byte for byte');
    const { said: seen } = await using(bob, ['snapshot', 'list']);
    check(seen.length === 0, "the other user's token lists nothing");
    const peek = async (snapshot) => {
      const { code, stderr } = await using(bob, ['restore', snapshot, 'disk0.img', join(work, 'stolen.img')], { quiet: true });
      return { code, said: stderr.replaceAll(snapshot, 'IT').replaceAll(snapshot.split('/').slice(0, 2).join('/'), 'GROUP') };
    };
    const [hidden, absent] = [await peek('vm/101/latest'), await peek('vm/999/latest')];
    check(hidden.code === 4 && hidden.said === absent.said, 'and is told the same of a snapshot that is not there and of one that is not its own');
    const steal = await using(bob, ['backup', '--group', 'vm/101', `disk0.img:${image}`], { quiet: true });
    check(steal.code !== 0, "nor does it get into the other user's group");
    const gone = await using(alice, ['snapshot', 'forget', 'vm/101/latest'], { quiet: true });
    check(gone.code !== 0, 'a token that may back up may not remove: what an attacker finds on a host does not delete its backups');
  } finally {
    environment.HOLDFAST_TOKEN_SECRET = '';
    environment.HOLDFAST_FINGERPRINT = '';
    await stop();
  }

  /** Starts the program, waits until it is ready, and signs in as its administrator. */
  async function startServer({ work, say, start }) {
    const state = join(work, 'server');
    const program = start(['server', '--state-dir', state, '--listen', '127.0.0.1:0', '--bulk-port', '0']);
    const { port, fingerprint } = await program.says('the server runs', READY_TIMEOUT_MS);
    say(`listening at 127.0.0.1:${port}, certificate ${fingerprint.slice(0, 23)}…`);
    environment.HOLDFAST_FINGERPRINT = fingerprint;
    const ca = readFileSync(join(state, 'server.crt'));
    const password = (await program.file(join(state, 'first-password'), READY_TIMEOUT_MS)).trim();
    const ticket = await call({ port, ca }, 'POST', '/access/ticket', { username: 'root@pam', password });
    const headers = { cookie: `PBSAuthCookie=${encodeURIComponent(ticket.ticket)}`, csrfpreventiontoken: ticket.CSRFPreventionToken };
    return {
      api: (method, path, body) => call({ port, ca, headers }, method, path, body),
      repository: (login) => `https://${login}@127.0.0.1:${port}/offsite`,
      stop: program.stop,
    };
  }
}

/** One call of the API; the certificate is the one that the server wrote. */
function call({ port, ca, headers = {} }, method, path, body) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, ca, method, path: `/api2/json${path}`, headers: { ...headers, 'content-type': 'application/json' } };
    const sent = request(options, (answer) => {
      let text = '';
      answer.on('data', (bytes) => (text += bytes));
      answer.on('end', () => (answer.statusCode === 200 ? resolve(JSON.parse(text).data) : reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`))));
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
