// ACLs against setfacl and getfacl: what the kernel keeps, we read, and what we make, getfacl shows.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { aclAttribute, aclText } from '../../../../src/agent/tree/ids/posix-acl.ts';

const nobody = (): undefined => undefined;

function attributeOf(path: string, name: string): Buffer {
  const hex = execFileSync('getfattr', ['--absolute-names', '--only-values', '-n', name, path]);
  return hex;
}

function attribute(text: string): Buffer {
  const acl = aclAttribute(text, nobody);
  assert.ok(acl !== undefined && 'attribute' in acl, text);
  return acl.attribute;
}

const skip =
  spawnSync('setfacl', ['--version']).error === undefined ? false : 'needs setfacl: apt-get install -y acl attr';

test('the attribute that setfacl makes is the text that it was given, and back', { skip }, (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-acl-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const cases = [
    [
      'user::rwx,user:1234:r-x,user:70000:---,group::r--,group:5:rw-,mask::rwx,other::--x',
      'system.posix_acl_access',
      [],
    ],
    ['user::rw-,user:0:-w-,group::---,mask::-w-,other::---', 'system.posix_acl_default', ['-d']],
  ] as const;
  for (const [place, [text, name, options]] of cases.entries()) {
    const path = join(directory, `d${place}`);
    mkdirSync(path);
    execFileSync('setfacl', [...options, '-m', text, path]);
    const kernel = attributeOf(path, name);
    assert.equal(aclText(kernel), text);
    assert.deepEqual(attribute(text), kernel);
    // The other way: our attribute, shown by getfacl.
    const other = join(directory, `o${place}`);
    mkdirSync(other);
    execFileSync('setfattr', ['-n', name, '-v', `0x${attribute(text).toString('hex')}`, other]);
    const shown = (of: string): string => execFileSync('getfacl', ['-cnp', of]).toString();
    assert.equal(
      shown(other).replace(/^(user::|group::|other::).*\n/gm, ''),
      shown(path).replace(/^(user::|group::|other::).*\n/gm, ''),
    );
  }
});

test('every ACL that has a text comes back from it', () => {
  const entry = fc.record({
    kind: fc.constantFrom('user', 'group'),
    id: fc.integer({ min: 0, max: 0xfffffffe }),
    bits: fc.integer({ min: 0, max: 7 }),
  });
  fc.assert(
    fc.property(fc.uniqueArray(entry, { selector: ({ kind, id }) => `${kind}${id}`, maxLength: 8 }), (entries) => {
      const signs = (bits: number): string => `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`;
      const text = [
        'user::rwx',
        'group::r-x',
        'mask::rwx',
        'other::---',
        ...entries.map(({ kind, id, bits }) => `${kind}:${id}:${signs(bits)}`),
      ].join('\n');
      const made = attribute(text);
      const again = aclText(made);
      assert.ok(again !== undefined);
      assert.deepEqual(attribute(again), made);
      assert.deepEqual(again.split(',').sort(), text.split('\n').sort());
    }),
  );
});

test('short words, comments, ids behind the permissions, and names', () => {
  const wanted = attribute('user::rwx,user:502:r--,group::r-x,mask::r-x,other::---');
  assert.deepEqual(attribute('u::rwx # owner\nu:502:r\ng::rx\nm::r-x\no::-\n'), wanted);
  assert.deepEqual(attribute('user::rwx,user:lisa:r--:502,group::r-x,mask::r-x,other::---'), wanted);
  const named = aclAttribute('user::rwx,user:lisa:r--,group::r-x,mask::r-x,other::---', (kind, name) =>
    kind === 'user' && name === 'lisa' ? 502 : undefined,
  );
  assert.deepEqual(named, { attribute: wanted });
  assert.deepEqual(aclAttribute('group:staff:r--', nobody), { unknownName: 'staff' });
});

test('what is no ACL is none', () => {
  for (const text of ['', 'user:rwx', 'user::rwxs', 'mask:5:r--', 'other::r--:x', 'user:99999999999:r--'])
    assert.equal(aclAttribute(text, nobody), undefined, text);
  for (const hex of [
    '',
    '02000000',
    '01000000010007000000ffff',
    '020000000100',
    '0200000003000700ffffffff',
    '0200000001000900ffffffff',
  ])
    assert.equal(aclText(Buffer.from(hex, 'hex')), undefined, hex);
});
