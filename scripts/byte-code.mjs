// Keeps the byte code of the bundles in dist/ beside them: what a program compiles at its start then takes a few milliseconds. Commands and a server
// are run on a datastore of their own, so that what they compiled on the way is kept too.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

const PRELOAD = fileURLToPath(new URL('byte-code-preload.cjs', import.meta.url));
const IMAGE_BYTES = 4 << 20;
const SERVER_STARTS_MS = 60_000;

/** `bundles`: the first ones of the programs in `folder`, without `.js`. Where these have byte code that this Node takes nothing is done: their names change with what any bundle has. */
export async function keepByteCode(folder, bundles) {
  const files = bundles.map((bundle) => join(folder, `${bundle}.js.bytecode`));
  if (files.every(isGood)) return;
  for (const name of readdirSync(folder)) if (name.endsWith('.bytecode')) rmSync(join(folder, name));
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-build-'));
  try {
    await runPrograms((args, env) => {
      const options = { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env, HOME: scratch } };
      return spawn(process.execPath, ['--require', PRELOAD, join(folder, 'holdfast.js'), ...args], options);
    }, scratch);
  } finally {
    rmSync(scratch, { recursive: true });
  }
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new Error(`no byte code was kept: ${missing.join(', ')}`);
}

/** Another Node refuses it. */
function isGood(file) {
  if (!existsSync(file)) return false;
  return !new Script(readFileSync(file.replace(/\.bytecode$/, ''), 'latin1'), { cachedData: readFileSync(file) }).cachedDataRejected;
}

async function runPrograms(start, scratch) {
  const image = join(scratch, 'image');
  writeFileSync(image, Buffer.alloc(IMAGE_BYTES, 'what a disk may hold'));
  const run = async (args, env) => await ended(start(args, env), args);
  const backUpAndRestore = async (repository, group, env) => {
    const at = ['--repository', repository];
    await run(['backup', '--group', group, `disk.img:${image}`, ...at], env);
    await run(['backup', '--group', group, `disk.img:${image}`, ...at], env);
    await run(['restore', `${group}/latest`, 'disk.img', join(scratch, group.replace('/', '-')), ...at], env);
    await run(['snapshot', 'list', ...at], env);
  };
  const store = join(scratch, 'store');
  await run(['datastore', 'create', '--repository', store]);
  await backUpAndRestore(store, 'vm/1');
  await run(['snapshot', 'forget', 'vm/1/latest', '--repository', store]);
  await run(['datastore', 'gc', '--repository', store]);
  await runGuests(start, join(scratch, 'node'), store);

  const state = join(scratch, 'state');
  const ports = ['--listen', '127.0.0.1:0', '--guest-listen', '127.0.0.1:0', '--bulk-port', '0'];
  const args = ['server', '--state-dir', state, ...ports, '--first-datastore', 'main'];
  const server = start(args);
  const serverEnded = ended(server, args);
  try {
    const { port, fingerprint } = await running(server);
    const HOLDFAST_PASSWORD = readFileSync(join(state, 'first-password'), 'utf8').trim();
    await backUpAndRestore(`https://root@pam@127.0.0.1:${port}/main`, 'vm/2', { HOLDFAST_PASSWORD, HOLDFAST_FINGERPRINT: fingerprint });
  } finally {
    server.kill('SIGTERM');
    await serverEnded;
  }
}

/** A virtual machine without disks. Where there is no QEMU its backup fails, and what was compiled until then is kept all the same. */
async function runGuests(start, node, store) {
  mkdirSync(join(node, 'qemu-server'), { recursive: true });
  writeFileSync(join(node, 'qemu-server', '100.conf'), 'memory: 512\n');
  const at = ['--node-dir', node];
  for (const args of [
    ['backup', '100', ...at, '--repository', store],
    ['restore', 'vm/100/latest', '101', ...at, '--repository', store],
    ['list', ...at],
  ])
    await once(start(['vm', ...args]), 'exit');
}

/** @throws what the program said, where it did not end well */
async function ended(child, args) {
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  const [code, signal] = await once(child, 'exit');
  if (code !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${code ?? signal}: ${said}`);
}

/** What a server says of itself when it has started and made its first user. */
async function running(server) {
  let about;
  for await (const line of createInterface({ input: server.stderr, signal: AbortSignal.timeout(SERVER_STARTS_MS) })) {
    if (line.includes('"the server runs"')) about = JSON.parse(line);
    if (line.includes('the password is in')) return about;
  }
  throw new Error(`the server did not run within ${SERVER_STARTS_MS / 1000} s`);
}
