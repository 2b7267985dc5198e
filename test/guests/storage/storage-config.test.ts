import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import {
  parseStorageConfig,
  printStorageConfig,
  type StorageConfig,
  StorageConfigStore,
} from '../../../src/guests/storage/storage-config.ts';

const TEXT = `# of the first
dir: local
\tpath /var/lib/vz
\tcontent iso,vztmpl,backup

zfspool: tank
\tpool tank/vms
\tsparse
\tfuture-option a b=c,d

# the end
`;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hf-storage-cfg-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('sections are read, and printed as they were', () => {
  const config = parseStorageConfig(TEXT);
  assert.deepEqual(
    config.sections.map(({ type, id, properties }) => [type, id, Object.fromEntries(properties)]),
    [
      ['dir', 'local', { path: '/var/lib/vz', content: 'iso,vztmpl,backup' }],
      ['zfspool', 'tank', { pool: 'tank/vms', sparse: '', 'future-option': 'a b=c,d' }],
    ],
  );
  assert.equal(printStorageConfig(config), TEXT);
  assert.equal(printStorageConfig(parseStorageConfig('')), '');
  const loose = 'dir:   local  \n    path    /x y  \n\n\n\nlvm: b1\n\tvgname z';
  assert.equal(printStorageConfig(parseStorageConfig(loose)), 'dir: local\n\tpath /x y\n\nlvm: b1\n\tvgname z\n');
});

test('a text that is no storage.cfg is refused with its line', () => {
  for (const [text, line] of [
    ['dir local', 1],
    ['\tpath /x', 1],
    ['dir: aa\n\n\tpath /x', 3],
    ['dir: aa\n\nbtrfs: aa', 3],
    ['dir: aa\n\tpath /x\n\tpath /y', 3],
  ] as const)
    assert.throws(
      () => parseStorageConfig(text),
      { code: 'bad-argument', message: new RegExp(`^line ${line} `) },
      text,
    );
  assert.throws(() => parseStorageConfig('dir: ../x'), { code: 'bad-name' });
});

test('whatever is printed reads back as it was', () => {
  const id = fc.stringMatching(/^[A-Za-z][A-Za-z0-9._-]{0,20}[A-Za-z0-9]$/);
  const text = fc.oneof(fc.constantFrom('path', 'content', '/a b', ''), fc.string({ unit: 'binary' }));
  const properties = fc.array(fc.tuple(text, text), { maxLength: 4 }).map((pairs) => new Map(pairs));
  const type = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  const section = fc.record({ type, id, properties }, { noNullPrototype: true });
  const configs = fc.uniqueArray(section, { selector: (each) => each.id }).map((sections) => ({ sections }));
  fc.assert(
    fc.property(configs, (config: StorageConfig) => {
      const printed = (() => {
        try {
          return printStorageConfig(config);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'bad-argument');
          return undefined;
        }
      })();
      if (printed !== undefined) assert.deepEqual(parseStorageConfig(printed), config);
    }),
    { numRuns: 1000 },
  );
});

test('without a file there is one storage below the directory of the node', async () => {
  const { config } = await new StorageConfigStore(directory).read();
  assert.deepEqual(
    config.sections.map(({ type, id, properties }) => [type, id, properties.get('path')]),
    [['dir', 'local', join(directory, 'storage', 'local')]],
  );
  assert.deepEqual(readdirSync(directory), []);
});

test('a change is made of what is there, or not at all', async () => {
  const store = new StorageConfigStore(directory);
  const { digest } = await store.read();
  const add = (id: string) => (config: StorageConfig) => ({
    ...config,
    sections: [...config.sections, { type: 'dir', id, properties: new Map([['path', `/srv/${id}`]]) }],
  });
  await Promise.all([store.change(add('one'), digest), store.change(add('two'))]);
  await assert.rejects(store.change(add('three'), digest), { code: 'config-changed' });
  await assert.rejects(store.change(add('two')), { code: 'bad-argument' });
  await assert.rejects(store.change(add('b/ad')), { code: 'bad-name' });
  const { config } = await store.read();
  assert.deepEqual(
    config.sections.map(({ id }) => id),
    ['local', 'one', 'two'],
  );
  assert.equal(readFileSync(join(directory, 'storage.cfg'), 'utf8'), printStorageConfig(config));
  writeFileSync(join(directory, 'storage.cfg'), 'no section');
  await assert.rejects(store.change(add('three')), { code: 'bad-argument' });
  assert.equal(readFileSync(join(directory, 'storage.cfg'), 'utf8'), 'no section');
});
