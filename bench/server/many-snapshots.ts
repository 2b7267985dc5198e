// A store with a hundred thousand snapshots: how long a page of a list takes, and how long the server takes to start with it. The manifests are
// written as docs/format.md has them, after one that a backup made: a hundred thousand commits would take hours.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodeManifest } from '../../src/datastore/snapshots/manifest-file.ts';
import type { Manifest } from '../../src/schema/manifest.ts';
import { formatTime } from '../../src/schema/names.ts';
import { median } from '../median.ts';
import { type Answer, atMost, type Context } from '../question.ts';
import { storeWith } from '../stores.ts';
import { ServerStore } from './server-store.ts';

const SNAPSHOTS = 100_000;
const OF_A_GROUP = 100;
const PAGE = 100;
const LOOKS = 21;
const HOUR_S = 3600;
const MODEL_GROUP = 'vm/101';

export async function manySnapshots({ images, workspace, scale }: Context): Promise<Answer> {
  const snapshots = Math.max(OF_A_GROUP, Math.round((SNAPSHOTS * scale) / OF_A_GROUP) * OF_A_GROUP);
  storeWith(workspace, 'many', images.base().path);
  const repository = workspace.path('many', 'repository');
  repeatManifest(repository, snapshots);
  const store = await ServerStore.start(workspace, 'many-server', repository);
  try {
    const page = async (start: number): Promise<number> => {
      const started = performance.now();
      const path = `/admin/datastore/bench/snapshots?start=${start}&limit=${PAGE}`;
      const rows = await store.admin.call<unknown[]>('GET', path);
      if (rows.length !== PAGE) throw new Error(`a page of ${PAGE} snapshots has ${rows.length}`);
      return performance.now() - started;
    };
    const firstMs = await page(0);
    const pages: number[] = [];
    for (let look = 0; look < LOOKS; look++) pages.push(await page(Math.floor((look * (snapshots - PAGE)) / LOOKS)));
    await store.server.end('SIGTERM');
    const started = performance.now();
    await store.server.start();
    const startS = (performance.now() - started) / 1000;
    return {
      rows: [],
      bars: [
        atMost(`${snapshots} snapshots: a page of ${PAGE}, median of ${LOOKS} places`, median(pages), 50, ' ms'),
        atMost(`${snapshots} snapshots: start of the server`, startS, 5, ' s'),
      ],
      facts: { snapshots, firstPageMs: Math.round(firstMs), slowestPageMs: Math.round(Math.max(...pages)) },
    };
  } finally {
    await store.stop();
  }
}

/** Writes snapshots like the one that is there, in groups of their own. */
function repeatManifest(repository: string, snapshots: number): void {
  const found = readdirSync(repository, { recursive: true, encoding: 'utf8' }).find((name) =>
    name.endsWith('manifest.json'),
  );
  if (found === undefined) throw new Error('the store has no snapshot to repeat');
  const group = dirname(dirname(join(repository, found)));
  const state = JSON.parse(readFileSync(join(group, 'group.json'), 'utf8')) as Record<string, unknown>;
  const { client, server } = JSON.parse(readFileSync(join(repository, found), 'utf8')) as Manifest;
  for (let made = 0; made < snapshots; made += OF_A_GROUP) {
    const name = `vm/${1000 + made / OF_A_GROUP}`;
    const directory = join(group, '..', name.slice('vm/'.length));
    mkdirSync(directory);
    writeFileSync(join(directory, 'group.json'), `${JSON.stringify({ ...state, sequence: OF_A_GROUP })}\n`);
    for (let place = 0; place < OF_A_GROUP; place++) {
      const time = server.time - (OF_A_GROUP - place) * HOUR_S;
      const label = join(directory, formatTime(time));
      mkdirSync(label);
      const part = { ...server, time, sequence: place + 1 };
      writeFileSync(join(label, 'manifest.json'), encodeManifest({ ...client, backup: name }, part));
    }
  }
  if (!group.endsWith(MODEL_GROUP)) throw new Error(`${group} is not the group ${MODEL_GROUP}`);
}
