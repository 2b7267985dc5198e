import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type PropertyFormat, parseProperties, printProperties } from '../../../src/guests/config/property-string.ts';

const FORMAT: PropertyFormat = {
  defaultKey: 'file',
  required: ['file', 'zone'],
  aliases: { volume: 'file' },
  keys: {
    file: { kind: 'text' },
    zone: { kind: 'text' },
    on: { kind: 'boolean' },
    count: { kind: 'integer', min: 1, max: 9 },
    rate: { kind: 'number' },
    size: { kind: 'size' },
    cache: { kind: 'enum', values: ['none', 'unsafe'] },
  },
};
const NIC: PropertyFormat = {
  defaultKey: 'model',
  keys: { model: { kind: 'enum', values: ['virtio', 'e1000'] }, macaddr: { kind: 'text' }, tag: { kind: 'integer' } },
  pair: { names: ['virtio', 'e1000'], nameKey: 'model', valueKey: 'macaddr' },
};

const parse = (text: string) => parseProperties(text, FORMAT, 'ide0');

test('a property string is read by key, and the value alone belongs to the default key', () => {
  assert.deepEqual(parse('zone=a,store:v,on=yes,count=07,size=1024K,,cache=none,'), {
    zone: 'a',
    file: 'store:v',
    on: '1',
    count: '7',
    size: '1M',
    cache: 'none',
  });
  assert.deepEqual(parse('volume=x=y,zone=a=b'), { file: 'x=y', zone: 'a=b' });
});

test('booleans take eight words and are 0 or 1', () => {
  for (const word of ['1', 'on', 'yes', 'true', 'TRUE']) assert.equal(parse(`f,zone=a,on=${word}`).on, '1');
  for (const word of ['0', 'off', 'no', 'false', 'Off']) assert.equal(parse(`f,zone=a,on=${word}`).on, '0');
});

test('what the format does not know is refused with the key and what it takes', () => {
  const refusals: [string, RegExp][] = [
    ['f,zone=a,colour=red', /ide0: 'colour' is no option; there are cache, count/],
    ['f,zone=a,constructor=1', /'constructor' is no option/],
    ['f,g,zone=a', /'file' is there twice/],
    ['f,volume=g,zone=a', /'file' is there twice/],
    ['f', /'zone=' is missing/],
    ['f,zone=', /no value for 'zone'/],
    ['f,zone=a,on=maybe', /it takes 0 or 1/],
    ['f,zone=a,count=10', /a whole number from 1 to 9/],
    ['f,zone=a,rate=-1', /a number/],
    ['f,zone=a,size=big', /a size such as 32G/],
    ['f,zone=a,cache=some', /none, unsafe/],
  ];
  for (const [text, message] of refusals) assert.throws(() => parse(text), { code: 'bad-argument', message }, text);
  assert.throws(() => parseProperties('x', { keys: FORMAT.keys }, 'audio0'), { message: /write KEY=x/ });
});

test('the canonical text has the default key first, then required keys, then the alphabet', () => {
  const values = { size: '1024K', cache: 'none', zone: 'a', file: 'f', on: 'yes' };
  assert.equal(printProperties(values, FORMAT), 'f,zone=a,cache=none,on=1,size=1M');
  assert.equal(printProperties({ zone: 'a', file: 'x=y' }, FORMAT), 'file=x=y,zone=a');
  assert.equal(printProperties({ tag: '5', macaddr: 'M', model: 'e1000' }, NIC), 'e1000=M,tag=5');
  assert.equal(printProperties({ model: 'e1000' }, NIC), 'e1000');
  assert.deepEqual(parseProperties('tag=5,virtio=M', NIC, 'net0'), { tag: '5', model: 'virtio', macaddr: 'M' });
  assert.throws(() => parseProperties('virtio=M,model=e1000', NIC, 'net0'), { message: /'model' is there twice/ });
});

test('nothing is printed that would be read as something else', () => {
  for (const file of ['a,on=1', ''])
    assert.throws(() => printProperties({ file, zone: 'a' }, FORMAT), { code: 'bad-argument' });
  assert.throws(() => printProperties({ other: 'a' }, FORMAT), { code: 'bad-argument' });
});

test('what was printed reads back the same', () => {
  const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }).filter((text) => !text.includes(','));
  const values = fc.record(
    {
      file: word,
      zone: word,
      on: fc.constantFrom('0', '1'),
      count: fc.integer({ min: 1, max: 9 }).map(String),
      cache: fc.constantFrom('none', 'unsafe'),
      size: fc.constantFrom('1', '3K', '7G'),
    },
    { requiredKeys: ['file', 'zone'], noNullPrototype: true },
  );
  fc.assert(
    fc.property(values, (given) => {
      const text = printProperties(given, FORMAT);
      assert.deepEqual(parse(text), given);
      assert.equal(printProperties(parse(text), FORMAT), text);
    }),
  );
});
