// Backups and restores over TLS on this machine against the same job without a server, in the same minute; and what crosses the wire when all is
// known. The wire is counted by a proxy in a run of its own, which is not timed.
import { once } from 'node:events';
import { TcpProxy } from '../../test/support/server/tcp-proxy.ts';
import { type Contender, extra, race, ratio, wall } from '../contender.ts';
import { backup, holdfastMissing, readBackup, restore } from '../holdfast.ts';
import { median } from '../median.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { emptyStore } from '../stores.ts';
import { requireSame } from '../workspace.ts';
import { serverFloor } from './floor.ts';
import { runCommand } from './run-command.ts';
import { ServerStore } from './server-store.ts';

const LOCAL = 'wire-local';
const PROXY = '127.0.0.9';

export async function wireSpeed(context: Context): Promise<Answer> {
  const { images, workspace, runs } = context;
  const missing = holdfastMissing();
  const image = images.base();
  const data = images.baseData();
  const local = workspace.path(LOCAL, 'repository');
  let server: ServerStore | undefined;
  let cpuBefore = 0;
  const cpuOfServer: number[] = [];
  const fresh = async (): Promise<void> => {
    await server?.stop();
    server = await ServerStore.start(workspace, 'wire-server');
    cpuBefore = await server.cpuS();
  };
  const there = (): ServerStore => {
    if (server === undefined) throw new Error('the server does not run');
    return server;
  };
  const locally = (name: string, more: Partial<Contender>): Contender => ({
    name: `${name}, directory`,
    missing,
    reads: () => [image.path],
    commands: () => [backup(local, image.path)],
    after: ([stdout]) => readBackup(stdout).figures,
    ...more,
  });
  const remotely = (name: string, more: Partial<Contender>): Contender => ({
    name: `${name}, server`,
    missing,
    reads: () => [image.path],
    commands: () => [there().letIn(backup(there().repository(), image.path))],
    after: ([stdout]) => readBackup(stdout).figures,
    ...more,
  });
  const restoring = (repository: () => string, target: string): Partial<Contender> => ({
    reads: () => [repository() === local ? local : there().directory],
    commands: () => [
      repository() === local ? restore(local, target) : there().letIn(restore(there().repository(), target)),
    ],
    after: () => {
      requireSame(image.path, target);
      workspace.remove('wire.out');
      return {};
    },
  });
  try {
    const [fullHere, fullThere] = await race(
      [
        locally('full backup', { before: () => void emptyStore(workspace, LOCAL) }),
        remotely('full backup', {
          before: async () => {
            if (server !== undefined) cpuOfServer.push((await server.cpuS()) - cpuBefore);
            await fresh();
          },
        }),
      ],
      runs,
    );
    cpuOfServer.push((await there().cpuS()) - cpuBefore);
    const [againHere, againThere] = await race([locally('known image', {}), remotely('known image', {})], runs);
    const out = workspace.path('wire.out');
    const [restoreHere, restoreThere] = await race(
      [
        locally(
          'restore',
          restoring(() => local, out),
        ),
        remotely(
          'restore',
          restoring(() => there().repository(), out),
        ),
      ],
      runs,
    );
    const wire = await bytesWhenKnown(there(), image.path);
    const chunks = extra(fullHere, 'objectsNew') ?? Number.NaN;
    const floor = await serverFloor(workspace, data.path, extra(fullThere, 'bytesStored') ?? 0);
    const serverCpuS = median(cpuOfServer);
    return {
      rows: [fullHere, fullThere, againHere, againThere, restoreHere, restoreThere],
      bars: [
        atMost('full backup: wall over a server / directory', ratio(fullThere, fullHere, wall), 1.7),
        atMost('full backup: CPU of the server / zstd -d + b3sum + TLS receive', serverCpuS / floor.cpuS, 1.3),
        atMost('known image: wall over a server / directory', ratio(againThere, againHere, wall), 1.5),
        atMost('known image: bytes on the wire per chunk', wire / chunks, 4, ' bytes'),
        atMost('restore: wall over a server / directory', ratio(restoreThere, restoreHere, wall), 1.7),
      ],
      facts: {
        imageBytes: image.sizeBytes,
        chunks,
        knownWireBytes: wire,
        serverCpuS: Number(serverCpuS.toFixed(2)),
        floorCpuS: Number(floor.cpuS.toFixed(2)),
        floorOf: floor.parts,
      },
    };
  } finally {
    await server?.stop();
  }
}

/** What a backup of the known image moves in both directions, TLS and HTTP included. */
async function bytesWhenKnown(store: ServerStore, image: string): Promise<number> {
  const { host, port, bulkPort } = store.server;
  const proxy = await TcpProxy.start(PROXY, { host, ports: [port, bulkPort] });
  try {
    const child = runCommand(store.letIn(backup(store.repository(PROXY), image)));
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`the backup over the proxy ended with ${code}`);
    return proxy.bytesUp + proxy.bytesDown;
  } finally {
    await proxy.close();
  }
}
