// Ten million objects of 64 bytes in at least 2,000 packs: what does the index cost in memory, and how long does opening take?
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kind } from '../src/chunker/object.ts';
import { IdHasher } from '../src/chunker/object-id.ts';
import { encodeRecord, recordBound } from '../src/chunker/record.ts';
import { Compressor } from '../src/chunker/zstd.ts';
import { loadIndex } from '../src/datastore/index/load-index.ts';
import { Layout } from '../src/datastore/layout.ts';
import { holdersPackFiles } from '../src/datastore/packs/pack-files.ts';
import { PackKind } from '../src/datastore/packs/pack-format.ts';
import { PackTable } from '../src/datastore/packs/pack-table.ts';
import { PackWriter } from '../src/datastore/packs/pack-writer.ts';
import { Arena } from '../src/util/arena.ts';
import { SharedBuffers } from '../src/util/shared-buffers.ts';
import { PROGRAM } from './holdfast.ts';
import { lookupsPerSecond } from './index-lookups.ts';
import { median } from './median.ts';
import { type Answer, atLeast, atMost, type Context, type Question } from './question.ts';

export interface IndexFigures {
  bytesPerObject: number;
  openCleanS: number;
  openAfterCrashS: number;
  /** Of two threads at the same time. */
  lookupsPerS: number;
  lookupFacts: Record<string, number>;
  openWithoutLoadingS: number;
}

const OBJECTS = 10_000_000;
const RECORDS_PER_PACK = 5_000;
const PAYLOAD_BYTES = 64;
const THREADS = 2;

/** Builds the store in the workspace with the datastore's own writers and measures it. */
export async function measureIndex(context: Context): Promise<IndexFigures> {
  const root = context.workspace.path('index-store');
  const config = context.workspace.path('small.conf');
  writeFileSync(config, 'memory: 4096\n');
  cli(root, 'datastore', 'create');
  cli(root, 'backup', '--group', 'vm/1', `small.conf:${config}`);
  const objects = Math.round(OBJECTS * Math.min(1, context.scale));
  fillWithPacks(root, objects);
  // The first backup after the packs appeared writes the index snapshot at its end.
  cli(root, 'backup', '--group', 'vm/1', `small.conf:${config}`);

  const afterCrash = openTimes(root, context, () => rmSync(join(root, 'index', 'snapshot')));
  const clean = openTimes(root, context, () => {});
  const withoutLoading = Array.from({ length: context.runs }, () =>
    seconds(() =>
      cli(root, 'restore', 'vm/1/latest', 'small.conf', context.workspace.path('restored.conf'), '--overwrite'),
    ),
  );
  return {
    ...(await lookUp(root)),
    openCleanS: median(clean),
    openAfterCrashS: median(afterCrash),
    openWithoutLoadingS: median(withoutLoading),
  };
}

function cli(root: string, ...args: string[]): void {
  execFileSync(process.execPath, [PROGRAM, '--repository', root, '--output-format', 'json', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Sealed packs of records with distinct 64-byte payloads, as a session writes them. */
function fillWithPacks(root: string, objects: number): void {
  const layout = new Layout(root);
  const storeId = Buffer.from(JSON.parse(readFileSync(layout.config, 'utf8')).store, 'hex');
  const fullBytes = 4 * 1024 * 1024;
  const area = new Arena(fullBytes + 1024 * 1024).allocate(fullBytes + 65536);
  const table = new PackTable();
  const hasher = new IdHasher();
  const compressor = new Compressor(1);
  const origin = { kind: PackKind.data, sessionId: Buffer.alloc(16, 1), epoch: 1, storeId };
  const payload = Buffer.alloc(PAYLOAD_BYTES);
  const refs = new Uint8Array(0);
  for (let object = 0; object < objects; ) {
    const writer = new PackWriter(layout, table, origin, { ...area, fullBytes });
    for (let record = 0; record < RECORDS_PER_PACK && object < objects; record++, object++) {
      payload.writeUInt32LE(object, 0);
      const id = hasher.id(Kind.data, refs, payload);
      writer.append(0, id, Kind.data, recordBound(0, PAYLOAD_BYTES), (target) =>
        encodeRecord(target, { kind: Kind.data, id, refs, payload }, compressor),
      );
    }
    writer.seal();
  }
}

/** Wall seconds of a command that holds the store and does nothing else to it, from start to end. */
function openTimes(root: string, context: Context, before: () => void): number[] {
  return Array.from({ length: context.runs }, () => {
    before();
    return seconds(() => cli(root, 'snapshot', 'note', 'vm/1/latest', 'opened'));
  });
}

/** Loads the index in this process and asks it from threads that share it. */
async function lookUp(root: string): Promise<Pick<IndexFigures, 'bytesPerObject' | 'lookupsPerS' | 'lookupFacts'>> {
  const layout = new Layout(root);
  const storeId = Buffer.from(JSON.parse(readFileSync(layout.config, 'utf8')).store, 'hex');
  const shared = new SharedBuffers('bench-index');
  const { index } = loadIndex(layout, storeId, shared, holdersPackFiles(layout));
  try {
    return {
      bytesPerObject: index.memoryBytes / index.count,
      lookupsPerS: await lookupsPerSecond(shared, THREADS, 'together'),
      lookupFacts: {
        lookupsOfOneThreadPerS: Math.round(await lookupsPerSecond(shared, 1, 'together')),
        lookupsOneByOneOfOneThreadPerS: Math.round(await lookupsPerSecond(shared, 1, 'one by one')),
      },
    };
  } finally {
    shared.close();
  }
}

function seconds(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}

export const index10m: Question = {
  name: 'index-10m',
  title: '10 M objects (synthetic 64-byte payloads, at least 2,000 packs)',
  answer,
};

async function answer(context: Context): Promise<Answer> {
  const figures = await measureIndex(context);
  return {
    rows: [],
    bars: [
      atMost('index per object', figures.bytesPerObject, 60, ' B'),
      atMost('open after a clean end', figures.openCleanS, 10, ' s'),
      atMost('open after a crash', figures.openAfterCrashS, 60, ' s'),
      atLeast(`lookups, ${THREADS} threads`, figures.lookupsPerS, 4_000_000, '/s'),
      atMost('a single-file command opens without loading it', figures.openWithoutLoadingS, 0.5, ' s'),
    ],
    facts: figures.lookupFacts,
  };
}
