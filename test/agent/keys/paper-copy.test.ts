// The printable copy: what is printed can be typed back by people, and a typing error is named by its line.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase32, encodeBase32 } from '../../../src/agent/keys/base32.ts';
import { encodeKeyFile, type KeyFile, parseKeyFile } from '../../../src/agent/keys/key-file.ts';
import { paperCopy, readPaperCopy } from '../../../src/agent/keys/paper-copy.ts';
import { deriveDataKey } from '../../../src/chunker/data-key.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const FIELDS = {
  hint: '01 ABCD',
  recovery: null,
  acknowledged: null,
  created: '2026-11-20T00:00:00.000Z',
  modified: '2026-11-20T00:00:00.000Z',
};
const key = deriveDataKey(Buffer.alloc(32, 7));
const vectors = new URL('../../vectors/', import.meta.url);
const never = () => assert.fail('asked');
const fails = async (code: string, message: RegExp, text: string, passphrase: () => Promise<string> = never) =>
  await assert.rejects(readPaperCopy('p', text, passphrase), (error) => {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
const numbered = (text: string): string[] => text.split('\n').filter((line) => /^\d\d {2}/.test(line));

async function fileWith(passphrase: string | undefined): Promise<KeyFile> {
  return parseKeyFile('k', await encodeKeyFile(key, passphrase, FIELDS, { n: 2 ** 10, r: 8, p: 1 }));
}

test('a copy is read again, protected by the passphrase of its file or by nothing', async () => {
  const open = paperCopy(await fileWith(undefined));
  assert.match(open, /NOT PROTECTED/);
  assert.deepEqual(await readPaperCopy('p', open, never), key);
  const closed = paperCopy(await fileWith('a passphrase'));
  assert.match(closed, /protected by the passphrase.*\nHint: 01 ABCD\n/);
  assert.deepEqual(await readPaperCopy('p', closed, async () => 'a passphrase'), key);
  await fails('passphrase-wrong', /does not open/, closed, async () => 'another one');
});

test('the golden copy is printed and read as ever', async () => {
  const golden = readFileSync(new URL('key-paper.txt', vectors), 'utf8');
  const file = parseKeyFile('k', readFileSync(new URL('key-file.json', vectors), 'utf8'));
  assert.equal(paperCopy(file), golden);
  assert.deepEqual(await readPaperCopy('p', golden, async () => 'correct horse battery staple'), key);
});

test('case, spaces, dashes, order and look-alikes do not matter', async () => {
  const lines = numbered(paperCopy(await fileWith(undefined)));
  const sloppy = lines
    .reverse()
    .map((line) => {
      const [number, rest] = [line.slice(0, 2), line.slice(4)];
      const letters = rest.replaceAll('0', 'o').replaceAll('1', 'l').toLowerCase().replaceAll(' ', '');
      return ` ${Number(number)}. ${letters.replace(/(.{3})/g, '$1 - ')}\r`;
    })
    .join('\n');
  assert.deepEqual(await readPaperCopy('p', sloppy, never), key);
});

test('each wrong character is named by its line; missing, doubled, swapped and foreign lines too', async () => {
  const text = paperCopy(await fileWith('a passphrase'));
  const lines = numbered(text);
  for (const [at, line] of lines.entries()) {
    for (let place = 4; place < line.length; place++) {
      if (line[place] === ' ') continue;
      const wrong = line.slice(0, place) + (line[place] === '7' ? 'F' : '7') + line.slice(place + 1);
      await fails('key-damaged', new RegExp(`line ${at + 1} has a typing error`), text.replace(line, wrong));
    }
    await fails('key-damaged', new RegExp(`line ${at + 1} is missing`), text.replace(`${line}\n`, ''));
    await fails('key-damaged', new RegExp(`line ${at + 1} is there twice`), `${text}${line}\n`);
  }
  const swapped = [lines[1]?.replace('02', '03'), lines[2]?.replace('03', '02')].join('\n');
  await fails('key-damaged', /line 3 has a typing error/, swapped);
  await fails('key-damaged', /line 1 has a typing error/, `01  U${lines[0]?.slice(5)}`);
  await fails('key-damaged', /line 1 is missing/, 'nothing');
  const open = numbered(paperCopy(await fileWith(undefined)));
  await fails('key-damaged', /more than the 3 lines/, [...open, lines[3]].join('\n'));
});

test('base32 gives back what it was given, and takes only what it makes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => decodeBase32(encodeBase32(bytes))?.equals(bytes) === true),
  );
  assert.equal(encodeBase32(Buffer.from([0xff, 0x00])), 'ZW00');
  for (const text of ['U', '0', 'ZW01', 'ZW0', 'Z!']) assert.equal(decodeBase32(text), undefined, text);
});
