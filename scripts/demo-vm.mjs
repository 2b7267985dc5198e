// The part of the demo about a running virtual machine: built from Debian's packages, backed up while it writes, destroyed, and running again from
// its backup before its disk is copied; the guest itself checks its data. `tools` are what scripts/demo.mjs shows and runs things with.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const MIB = 1024 * 1024;
const builder = fileURLToPath(new URL('guests/build-debian-guest.mjs', import.meta.url));
const BUILD = `sudo node ${builder}`;
/** Not what guests of this host would have: their control groups bear the numbers. */
const ID = '9201';
const NEW_ID = '9202';
const BOOT_TIMEOUT_MS = 300_000;
const POLL_MS = 500;
/** Trees that the guest writes between two backups. */
const TREES_BETWEEN = 3;
const INCREMENTALS = 3;
/** A live restore copies so slowly that the guest boots in a part of the time, however slow this machine is. */
const COPY_BOOTS = 2.5;
const SHORTEST_COPY_MS = 20_000;
const PROOF = '/usr/local/sbin/holdfast-proof';
const LAST_TREE = 'ls -d /srv/proof/tree-*/sums | sed "s/.*tree-//; s/.sums//" | sort -n | tail -1';
/** A tree of its own, of what the writer made last: the writer removes its old ones. */
const KEEP = `cd /srv && rm -rf kept && cp -r proof/tree-$(${LAST_TREE}) kept && sync && sha256sum kept/*`;

const PROOF_HOLDS = / [1-9]\d* trees are as they were written$/;

/** `whileItRuns` is called with the number of the guest when it runs from its own disk again. Returns whether there was a guest. */
export async function virtualMachine(tools, whileItRuns) {
  const { heading, run, say, seconds, work, environment, guestBuilder = [process.execPath, builder] } = tools;
  heading('A virtual machine: built from packages, booted, and backed up while it writes');
  const image = await buildGuest({ run, say, seconds, guestBuilder });
  if (image === undefined) return false;
  environment.HOLDFAST_NODE_DIR = join(work, 'node');
  const on = { ...tools, ...guestTools(tools) };
  await on.holdfast(on.store, ['datastore', 'create']);
  const bootMs = await boot(on, image);
  const last = await backUp(on);
  heading('The machine is destroyed, and runs again from its backup before its disk is copied');
  await destroy(on);
  await bringBack(on, { ...last, bootMs });
  await whileItRuns?.(NEW_ID);
  await putAway(on);
  endGuests(work);
  return true;
}

/** What is done with guests again and again. */
function guestTools({ store, holdfast, seconds }) {
  const vm = (args, options) => holdfast(store, ['vm', ...args], options);
  const inGuest = async (id, ...program) => {
    const { said } = await vm(['guest', 'exec', id, '--timeout', '120', '--', ...program]);
    if (said.exitCode !== 0) throw new Error(`${program.join(' ')} in the guest: exit ${said.exitCode}\n${said.stderr}${said.stdout}`);
    return said.stdout.trim();
  };
  const until = async (what, look) => {
    for (const deadline = Date.now() + BOOT_TIMEOUT_MS; Date.now() < deadline; await new Promise((done) => setTimeout(done, POLL_MS))) {
      const found = await look();
      if (found) return found;
    }
    throw new Error(`${what}: not within ${seconds(BOOT_TIMEOUT_MS)}`);
  };
  return {
    vm,
    inGuest,
    until,
    lastTree: async (id) => Number(await inGuest(id, '/bin/sh', '-c', LAST_TREE)),
    answers: (id) => until(`the agent in VM ${id}`, async () => (await vm(['agent', id, 'ping'], { quiet: true })).code === 0),
  };
}

async function boot({ vm, answers, rows, say, seconds }, image) {
  const settings = { agent: '1', cores: '1', memory: '384', scsihw: 'virtio-scsi-pci', serial0: 'socket', vga: 'serial0', boot: 'order=scsi0' };
  const words = Object.entries({ ...settings, scsi0: `local:0,import-from=${image},discard=on` }).flatMap(([key, value]) => [`--${key}`, value]);
  await vm(['create', ID, '--name', 'debian', ...words]);
  const started = performance.now();
  await vm(['start', ID, '--no-watch']);
  await answers(ID);
  const bootMs = performance.now() - started;
  rows.push(['virtual machine, boot', seconds(bootMs), '', '', '', '', '']);
  say(`VM ${ID} runs: Debian answers through its agent ${seconds(bootMs)} after its start`);
  return bootMs;
}

/** A full backup and incremental ones; what the guest kept right before the last, and the size of its disk. */
async function backUp({ vm, inGuest, until, lastTree, rows, say, check, mib, seconds }) {
  const backup = async (step) => {
    const { said, ms } = await vm(['backup', ID]);
    rows.push([step, seconds(ms), mib(said.bytesRead), mib(said.bytesNew), '', '', '']);
    say(`${said.snapshot}: ${mib(said.bytesLogical)} of disk, read ${mib(said.bytesRead)}, new ${mib(said.bytesNew)}, in ${seconds(ms)}`);
    return said;
  };
  const atFirst = await until('trees', () => lastTree(ID));
  const full = await backup('virtual machine, full backup');
  const incrementals = [];
  let kept = '';
  for (let n = 1; n <= INCREMENTALS; n++) {
    const before = await lastTree(ID);
    await until('more trees', async () => (await lastTree(ID)) >= before + TREES_BETWEEN);
    if (n === INCREMENTALS) kept = await inGuest(ID, '/bin/sh', '-c', KEEP);
    incrementals.push(await backup(`virtual machine, incremental ${n}`));
  }
  const most = Math.max(...incrementals.map(({ bytesRead }) => bytesRead));
  check(most < full.bytesRead / 4, `only what the guest wrote is read: ${mib(most)} at most, instead of ${mib(full.bytesRead)}`);
  const written = (await lastTree(ID)) - atFirst;
  check(written >= INCREMENTALS * TREES_BETWEEN, `the guest went on writing all the while: ${written} trees of files, each with its checksums`);
  const proof = await inGuest(ID, PROOF, 'check');
  check(PROOF_HOLDS.test(proof), `and its files are as they should be: "${proof}"`);
  return { kept, diskMiB: full.bytesLogical / MIB };
}

async function destroy({ vm, check, environment }) {
  await vm(['stop', ID]);
  await vm(['destroy', ID]);
  const images = join(environment.HOLDFAST_NODE_DIR, 'storage/local/images', ID);
  const { said: none } = await vm(['list']);
  check(none.length === 0 && (!existsSync(images) || readdirSync(images).length === 0), `VM ${ID} is gone, with its disk`);
}

async function bringBack({ vm, inGuest, until, lastTree, answers, rows, check, seconds }, { kept, diskMiB, bootMs }) {
  const kibPerSecond = Math.ceil((diskMiB * 1024 * 1000) / Math.max(SHORTEST_COPY_MS, COPY_BOOTS * bootMs));
  const started = performance.now();
  let isCopied = false;
  const restored = vm(['restore', `vm/${ID}/latest`, NEW_ID, '--unique', '--live-restore', '--bwlimit', String(kibPerSecond)]).finally(() => (isCopied = true));
  // A restore that fails is told at once; one that has ended says nothing of whether the guest answers.
  const failed = new Promise((_, reject) => restored.catch(reject));
  await Promise.race([answers(NEW_ID), failed]);
  const answeredMs = performance.now() - started;
  const speed = `${(kibPerSecond / 1024).toFixed(1)} MiB/s`;
  check(!isCopied, `VM ${NEW_ID} answers through its agent after ${seconds(answeredMs)}, while its disk is still being copied (slowed down to ${speed})`);
  rows.push(['live restore, until the guest answers', seconds(answeredMs), '', '', '', '', '']);
  const atBoot = await until("the guest's own check", () => inGuest(NEW_ID, '/bin/sh', '-c', 'cat /run/holdfast-proof 2>/dev/null || true'));
  check(PROOF_HOLDS.test(atBoot), `what the guest found when it booted: "${atBoot}"`);
  const again = await inGuest(NEW_ID, '/bin/sh', '-c', 'cd /srv && sha256sum kept/*');
  check(kept !== '' && again === kept, `${kept.split('\n').length} files written right before the last backup have the checksums that were noted then, outside of the guest`);
  const { ms } = await restored;
  rows.push(['live restore, until the disk is whole', seconds(ms), '', '', '', '', again === kept ? 'identical' : 'DIFFERENT']);
  const before = await lastTree(NEW_ID);
  await until('more trees', async () => (await lastTree(NEW_ID)) > before);
  const after = await inGuest(NEW_ID, PROOF, 'check');
  check(PROOF_HOLDS.test(after), `the disk stands alone, and the guest writes on: "${after}"`);
}

async function putAway({ vm, inGuest, run, check, environment }) {
  const last = await inGuest(NEW_ID, PROOF, 'check');
  check(PROOF_HOLDS.test(last), `VM ${NEW_ID} at its end: "${last}"`);
  await vm(['stop', NEW_ID]);
  const { said: config } = await vm(['config', NEW_ID]);
  const disk = diskPath(environment.HOLDFAST_NODE_DIR, config);
  const sound = await run('qemu-img', ['check', '-q', disk], { quiet: true });
  const info = JSON.parse((await run('qemu-img', ['info', '--output', 'json', disk])).stdout);
  check(sound.code === 0 && info['backing-filename'] === undefined, 'stopped, its disk is a sound image that needs no other');
}

/** Cached, or made now; undefined, with what to type, where that cannot be. */
async function buildGuest({ run, say, seconds, guestBuilder: [program, ...args] }) {
  const found = await run('qemu-system-x86_64', ['--version'], { quiet: true }).catch(() => undefined);
  if (found === undefined) {
    say('left out: QEMU is not installed. Type: sudo apt-get install -y qemu-system-x86 qemu-utils');
    return undefined;
  }
  say('the guest is taken from .cache/guests, or built there (a minute)');
  const { code, stdout, stderr, ms } = await run(program, args, { quiet: true });
  if (code === 0) {
    say(`Debian with systemd, an agent, and a service that writes trees of files with their checksums; after ${seconds(ms)}`);
    return join(stdout.trim().split('\n').at(-1), 'root.qcow2');
  }
  for (const line of stderr.trim().split('\n')) say(line);
  say(`left out: the guest was not built. Type: ${BUILD}`);
  return undefined;
}

function diskPath(node, config) {
  const volume = config.scsi0.split(',')[0].split(':')[1];
  return join(node, 'storage/local/images', volume);
}

/** Kills what guests still run of the demo, which outlive it otherwise, and removes their sockets. */
export function endGuests(work) {
  const runPath = runPathOf(join(work, 'node'));
  if (!existsSync(runPath)) return;
  for (const id of readdirSync(runPath)) {
    const pidFile = join(runPath, id, 'qemu.pid');
    const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
    // Numbers of processes come again.
    if (pid > 0 && existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(runPath)) process.kill(pid, 'SIGKILL');
  }
  rmSync(runPath, { recursive: true, force: true });
}

/** As src/guests/node-directory.ts has it for a node elsewhere than at its default place. */
function runPathOf(nodePath) {
  const user = process.getuid?.();
  const base = user === 0 ? '/run' : (process.env.XDG_RUNTIME_DIR ?? `/tmp/holdfast-${user}`);
  return join(base, `holdfast-${createHash('sha256').update(resolve(nodePath)).digest('hex').slice(0, 10)}`);
}
