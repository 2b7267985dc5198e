// A store that an earlier build wrote stays readable, by our reader and by the second one: the format does not change in silence.
//
// When this fails, the format has changed. If that was not meant, the change is the bug. If it was meant, docs/format.md says so
// first and test/support/second-reader.mjs follows it. While the format is a draft, the golden store is then made anew, and both
// files are committed with the change:  npm run build && node scripts/make-golden-store.mjs
// Once datastore.json has lost `draft-1`, no golden store is ever replaced: a new one is added beside it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, suite, test } from 'node:test';
import { decompress } from 'zstd-napi';

interface Expectation {
  readonly ns: string;
  readonly snapshot: string;
  readonly archive: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

const VECTORS = 'test/vectors/golden-store';
const { archives } = JSON.parse(readFileSync(`${VECTORS}.json`, 'utf8')) as { archives: Expectation[] };

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

suite('the golden store', () => {
  const work = mkdtempSync(join(tmpdir(), 'golden-store-'));
  const store = join(work, 'store');
  const target = join(work, 'restored');
  const holdfast = (...args: string[]) =>
    execFileSync('node', ['dist/holdfast.js', '--repository', store, '--output-format', 'json', ...args], {
      encoding: 'utf8',
    });
  const nsOption = (ns: string) => (ns === '' ? [] : ['--ns', ns]);

  const readers: Record<string, (wanted: Expectation) => void> = {
    'the second reader': ({ ns, snapshot, archive }) => {
      const args = ['--all', ...nsOption(ns), store, snapshot, archive, target];
      execFileSync('node', ['test/support/second-reader.mjs', ...args]);
    },
    holdfast: ({ ns, snapshot, archive }) => {
      holdfast(...nsOption(ns), 'restore', snapshot, archive, target);
    },
  };

  before(() => {
    const packed = readFileSync(`${VECTORS}.tar.zst`);
    assert.ok(packed.length < 300 * 1024);
    execFileSync('tar', ['-C', work, '-xf', '-'], { input: decompress(packed) });
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  // The second reader comes first: it sees the store as it was written, before anything of ours has opened it.
  for (const [name, restore] of Object.entries(readers)) {
    for (const wanted of archives) {
      const label = `${wanted.ns === '' ? '' : `${wanted.ns}: `}${wanted.snapshot} ${wanted.archive}`;
      test(`${name} restores ${label}`, async () => {
        restore(wanted);
        assert.equal(statSync(target).size, wanted.sizeBytes);
        assert.equal(await sha256(target), wanted.sha256);
        rmSync(target);
      });
    }
  }

  test('cut points and ids are what they were: the same image again has no new data', () => {
    const image = join(work, 'disk0.img');
    holdfast('restore', 'vm/101/latest', 'disk0.img', image);
    const said = JSON.parse(holdfast('backup', '--group', 'vm/101', `disk0.img:${image}`)) as Record<string, number>;
    assert.equal(said.objectsNew, 0);
    assert.ok((said.objectsReused ?? 0) > 0);
  });
});
