import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  configDigest,
  EMPTY_CONFIG,
  MAX_CONFIG_BYTES,
  parseVmConfig,
  printVmConfig,
  type VmConfig,
  withSettings,
} from '../../../src/guests/config/vm-config.ts';

const LABEL = 'qemu-server/100.conf';
const parse = (text: string) => parseVmConfig(text, LABEL);

const FILE = `#A caf%C3%A9%3A 100%25
#
#second
agent: 1
name: web
scsi0: local:100/vm-100-disk-0.qcow2,size=32G
scsi10: local:100/vm-100-disk-1.qcow2,size=1G
scsi2: local:100/vm-100-disk-2.qcow2,size=1G
x-ours: kept

[PENDING]
delete: net0,!unused0
memory: 1024

[special:cloudinit]
name: old
# not a description

[before]
#why
memory: 512
parent: first
snaptime: 1700000000

[first]
memory: 256
`;

test('a configuration is read with all that is in it', () => {
  const config = parse(FILE);
  assert.equal(config.description, 'A café: 100%\n\nsecond');
  assert.equal(config.values.get('name'), 'web');
  assert.equal(config.values.get('x-ours'), 'kept');
  assert.equal(config.values.has('description'), false);
  assert.deepEqual(
    [...(config.pending?.values ?? [])],
    [
      ['delete', 'net0,!unused0'],
      ['memory', '1024'],
    ],
  );
  assert.deepEqual([...config.snapshots.keys()], ['before', 'first']);
  assert.equal(config.snapshots.get('before')?.description, 'why');
  assert.equal(config.snapshots.get('before')?.values.get('snaptime'), '1700000000');
  assert.deepEqual(config.special.get('special:cloudinit'), ['name: old', '# not a description']);
});

test('the canonical text is read and printed byte for byte', () => {
  assert.equal(printVmConfig(parse(FILE)), FILE);
});

test('order, blanks, line ends and older forms of the description are made canonical', () => {
  const text =
    'name: a  \r\n\r\n# later\r\ncores:2\r\ndescription: and%0Amore\r\nempty:\r\n[Pending]\r\n\r\n[b1] \r\ncores: 1\r\n[a1]\r\n';
  assert.equal(
    printVmConfig(parse(text)),
    '# later\n#and\n#more\ncores: 2\nempty:\nname: a\n\n[a1]\n\n[b1]\ncores: 1\n',
  );
});

test('a description that is no encoding of text is kept as it stands', () => {
  assert.equal(parse('#100% sure, %41%FF and %zz').description, '100% sure, %41%FF and %zz');
  assert.equal(parse('#%C3%A9%41').description, 'éA');
});

test('a line that cannot be read is an error with the file and the line', () => {
  const refusals: [string, RegExp][] = [
    ['cores: 1\nrubbish', /qemu-server\/100\.conf, line 2 cannot be read: it is not 'KEY: VALUE': 'rubbish'/],
    [' cores: 1', /line 1/],
    ['[PENDING\n', /line 1/],
    ['cores: 1\n\ncores: 2\n', /line 3 cannot be read: 'cores' is there a second time/],
    ['[a1]\n[b1]\n[a1]\n', /line 3 cannot be read: \[a1\] is there a second time/],
    ['[PENDING]\n[pending]\n', /line 2/],
    ['[a1]\nx\u001b[2J', /line 2 .*'x\?\[2J'/],
  ];
  for (const [text, message] of refusals) assert.throws(() => parse(text), { code: 'bad-argument', message }, text);
  assert.throws(() => parse(`#${'x'.repeat(MAX_CONFIG_BYTES)}`), { code: 'too-large' });
});

test('what a line cannot hold is not printed', () => {
  const bad: Record<string, string>[] = [
    { cores: '1\nargs: -x' },
    { 'a b': '1' },
    { '[x]': '1' },
    { '': '1' },
    { cores: ' 1' },
  ];
  for (const set of bad)
    assert.throws(() => printVmConfig(withSettings(EMPTY_CONFIG, set)), { code: 'bad-argument' }, JSON.stringify(set));
  const snapshots = new Map([['pending', EMPTY_CONFIG]]);
  assert.throws(() => printVmConfig({ ...EMPTY_CONFIG, snapshots }), { code: 'bad-name' });
});

test('the digest is the SHA-1 of the text', () => {
  assert.equal(configDigest(''), 'da39a3ee5e6b4b0d3255bfef95601890afd80709');
  assert.equal(configDigest('name: é\n'), '0bbcf5c279c7cc5ca4d4dbdc6275d00d51dd1f27');
});

test('changes make a copy; the description is a key like others', () => {
  const before = parse('#note\ncores: 1\nname: a\n');
  const after = withSettings(before, { cores: '2', description: 'one\ntwo' }, ['name', 'cores', 'nothing']);
  assert.equal(printVmConfig(after), '#one\n#two\ncores: 2\n');
  assert.equal(printVmConfig(before), '#note\ncores: 1\nname: a\n');
  assert.equal(withSettings(before, {}, ['description']).description, undefined);
  assert.equal(withSettings(before, { description: '' }).description, undefined);
  assert.equal(withSettings(before, {}).description, 'note');
});

const key = fc.stringMatching(/^[a-z][a-z0-9_-]{0,6}$/).filter((each) => each !== 'description');
const value = fc
  .string({ unit: 'grapheme', maxLength: 20 })
  .filter((each) => each.trim() === each && !each.includes('\n'));
const section = fc.record(
  {
    values: fc.array(fc.tuple(key, value), { maxLength: 5 }).map((pairs) => new Map(pairs)),
    description: fc.option(fc.string({ unit: 'grapheme', maxLength: 30 }), { nil: undefined }),
  },
  { noNullPrototype: true },
);
const names = fc.stringMatching(/^[a-z][a-z0-9_-]{1,8}$/).filter((each) => each !== 'pending' && each !== 'current');
const configs: fc.Arbitrary<VmConfig> = fc
  .record({
    main: section,
    pending: fc.option(section, { nil: undefined }),
    snapshots: fc.array(fc.tuple(names, section), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    special: fc
      .array(
        fc.tuple(
          names.map((name) => `special:${name}`),
          fc.array(key, { maxLength: 2 }),
        ),
        { maxLength: 2 },
      )
      .map((pairs) => new Map(pairs)),
  })
  .map(({ main, pending, snapshots, special }) => {
    const none = pending !== undefined && pending.values.size === 0 && pending.description === undefined;
    return { ...main, pending: none ? undefined : pending, snapshots, special };
  });

test('every configuration reads back as it was printed', () => {
  fc.assert(fc.property(configs, (config) => assert.deepEqual(parse(printVmConfig(config)), config)));
});

test('every text that can be read prints to a text that prints to itself, and loses no line', () => {
  const line = fc.oneof(
    fc.tuple(key, value).map(([name, text]) => `${name}: ${text}`),
    fc.string({ unit: 'grapheme', maxLength: 10 }).map((text) => `#${text}`),
    fc.constantFrom('', '  ', '[PENDING]', '[special:x]', '[snap]', '[other]', '#%', '#%C3'),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      const text = lines.join('\n');
      let config: VmConfig;
      try {
        config = parse(text);
      } catch (error) {
        assert.match(String(error), /second time|KEY: VALUE/);
        return;
      }
      const printed = printVmConfig(config);
      assert.equal(printVmConfig(parse(printed)), printed);
      const count = (whole: string) =>
        whole.split('\n').filter((each) => each.trim() !== '' && each !== '[PENDING]').length;
      assert.equal(count(printed), count(text));
    }),
  );
});
