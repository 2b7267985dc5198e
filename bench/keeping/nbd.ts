// How fast are disks read over NBD: in a row with nbdcopy, against our own restore, and at random places with qemu-img bench?
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type Contender, extra, race, ratio, wall } from '../contender.ts';
import { holdfastMissing, restore, serveNbd } from '../holdfast.ts';
import { type Answer, atLeast, type Context } from '../question.ts';
import { storeWith } from '../stores.ts';
import { missingTools } from '../tools.ts';

const HOME = 'nbd';
const EXPORT = 'vm/101/latest/disk0.img';
const RANDOM_READS = 30_000;
const AT_ONCE = 8;
const BLOCK_BYTES = 4096;
/** Steps of the golden ratio of 2 GiB, the longest that it takes, come close to every place in no order that read-ahead could use. */
const STEP_BYTES = Math.floor((0.618034 * 2 ** 31) / BLOCK_BYTES) * BLOCK_BYTES;

export async function nbdSpeed({ images, workspace, runs }: Context): Promise<Answer> {
  const image = images.base();
  const repository = workspace.path(HOME, 'repository');
  const socket = workspace.path('nbd.sock');
  if (holdfastMissing() === undefined && !existsSync(repository)) storeWith(workspace, HOME, image.path);
  const server = await startServer(repository, socket);
  try {
    const [restored, copied] = await race(
      [restoreToNull(repository), { ...copyToNull(socket), reads: () => [repository] }],
      runs,
    );
    const [random] = await race([randomReads(socket)], runs);
    return {
      rows: [restored, copied, random],
      bars: [
        atLeast('nbd: speed of nbdcopy to null / holdfast restore -', ratio(restored, copied, wall), 0.7),
        atLeast(`nbd: random reads of 4 KiB, ${AT_ONCE} at once`, extra(random, 'readsPerS'), 3000, ' /s'),
      ],
      facts: {},
    };
  } finally {
    server.kill('SIGTERM');
    await once(server, 'close');
  }
}

/** Returns when clients can connect. */
async function startServer(repository: string, socket: string): Promise<ChildProcess> {
  const { argv } = serveNbd(repository, socket);
  const server = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  await Promise.race([
    once(server.stdout, 'data'),
    once(server, 'exit').then(() => Promise.reject(new Error('serve-nbd does not start'))),
  ]);
  return server;
}

function restoreToNull(repository: string): Contender {
  const { argv } = restore(repository, '-');
  return {
    name: 'holdfast restore - to null',
    missing: holdfastMissing(),
    reads: () => [repository],
    commands: () => [{ argv: ['sh', '-c', 'exec "$@" > /dev/null', 'sh', ...argv] }],
  };
}

function copyToNull(socket: string): Contender {
  return {
    name: 'nbdcopy to null',
    missing: missingTools('nbdcopy') ?? holdfastMissing(),
    commands: () => [{ argv: ['nbdcopy', `nbd+unix:///${EXPORT}?socket=${socket}`, 'null:'] }],
  };
}

function randomReads(socket: string): Contender {
  const numbers = ['-c', RANDOM_READS, '-d', AT_ONCE, '-s', BLOCK_BYTES, '-S', STEP_BYTES].map(String);
  return {
    name: `qemu-img bench, ${RANDOM_READS} reads`,
    missing: missingTools('qemu-img') ?? holdfastMissing(),
    commands: () => [
      { argv: ['qemu-img', 'bench', '-f', 'raw', ...numbers, `nbd:unix:${socket}:exportname=${EXPORT}`] },
    ],
    after: ([stdout]) => {
      const seconds = Number(/completed in ([\d.]+) seconds/.exec(stdout)?.[1]);
      if (!(seconds > 0)) throw new Error(`qemu-img bench says no time: ${stdout.slice(0, 200)}`);
      return { readsPerS: RANDOM_READS / seconds };
    },
  };
}
