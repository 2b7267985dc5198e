// A line with 40 ms of round trip and 100 Mbit/s: how much of it a backup uses, and what is sent again when it is cut twenty times.
import { writeFileSync } from 'node:fs';
import { TcpProxy } from '../../test/support/server/tcp-proxy.ts';
import { backup } from '../holdfast.ts';
import { type Answer, atLeast, atMost, type Context } from '../question.ts';
import { noise } from './many-clients.ts';
import { runToEnd } from './run-command.ts';
import { ServerStore } from './server-store.ts';

const DISK_BYTES = 512 * 2 ** 20;
const LINE = { roundTripMs: 40, bytesPerSecond: 12_500_000 };
const CUTS = 20;
const HOST = '127.0.0.8';

export async function slowLine({ workspace, scale }: Context): Promise<Answer> {
  const bytes = Math.max(16 * 2 ** 20, Math.round(DISK_BYTES * scale));
  const disk = workspace.path('line.img');
  writeFileSync(disk, noise(bytes, 7));
  const store = await ServerStore.start(workspace, 'line');
  const { host, port, bulkPort } = store.server;
  const proxy = await TcpProxy.start(HOST, { host, ports: [port, bulkPort] }, LINE);
  const over = (group: string): Promise<void> => runToEnd(store.letIn(backup(store.repository(HOST), disk, { group })));
  try {
    const started = performance.now();
    await over('vm/1');
    const seconds = (performance.now() - started) / 1000;
    const plainUp = proxy.bytesUp;
    // Another owner's disk: nothing of it is known to this one.
    writeFileSync(disk, noise(bytes, 8));
    const stop = new AbortController();
    const cutting = cutOften(proxy, plainUp, bytes, stop.signal);
    await over('vm/2').finally(() => stop.abort());
    await cutting;
    // All that the cuts cost, also what was on its way and the handshakes of new connections.
    const again = proxy.bytesUp - 2 * plainUp;
    return {
      rows: [],
      bars: [
        atLeast('40 ms, 100 Mbit/s: share of the line, whole process', bytes / LINE.bytesPerSecond / seconds, 0.9),
        atLeast('40 ms, 100 Mbit/s: cuts that the backup outlived', proxy.cuts, CUTS, ''),
        atMost('40 ms, 100 Mbit/s: sent again after the cuts', (again / bytes) * 100, 1, ' %'),
      ],
      facts: { lineBytes: bytes, lineSeconds: Number(seconds.toFixed(1)), sentAgainBytes: again },
    };
  } finally {
    await proxy.close();
    await store.stop();
  }
}

async function cutOften(proxy: TcpProxy, from: number, bytes: number, signal: AbortSignal): Promise<void> {
  try {
    for (let cut = 1; cut <= CUTS; cut++) {
      await proxy.passed(from + (cut * bytes) / (CUTS + 2), signal);
      proxy.cut();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
