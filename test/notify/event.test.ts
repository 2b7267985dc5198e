// Events are bounded and hold nothing that could steer a mail or a terminal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundedEvent, worst } from '../../src/notify/event.ts';
import { event } from './fixture.ts';

test('line breaks leave the subject and fields, control characters the text', () => {
  const made = boundedEvent(
    event({ subject: 'a\r\nBcc: x@y\u2028z', text: 'one\r\ntwo\u001b[31m\ttab', fields: { a: 'x\ny', 'b b': 'no' } }),
  );
  assert.equal(made.subject, 'a Bcc: x@y z');
  assert.equal(made.text, 'one\ntwo\u{fffd}[31m\ttab');
  assert.deepEqual(made.fields, { a: 'x y' });
});

test('texts, fields and rows are cut, and the cut is said', () => {
  const rows = Array.from({ length: 1005 }, (_, n) => [String(n), 'x'.repeat(600), 'beyond']);
  const fields = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f${n}`, 'v'.repeat(2000)]));
  const made = boundedEvent(
    event({ subject: 's'.repeat(1000), text: 't'.repeat(100_000), fields, table: { columns: ['a', 'b'], rows } }),
  );
  assert.equal(made.subject.length, 250);
  assert.ok(made.subject.endsWith('…'));
  assert.equal(made.text.length, 65_536);
  assert.equal(Object.keys(made.fields).length, 32);
  assert.equal(made.fields.f0?.length, 1024);
  assert.equal(made.table?.rows.length, 1001);
  assert.deepEqual(made.table?.rows.at(-1), ['and 5 more', '']);
  assert.deepEqual(made.table?.rows[7], ['7', `${'x'.repeat(499)}…`]);
  assert.equal(boundedEvent(event({ subject: `${'s'.repeat(248)}😀😀` })).subject, `${'s'.repeat(248)}…`);
});

test('the worst severity is found, and of none it is info', () => {
  assert.equal(worst(['notice', 'error', 'warning']), 'error');
  assert.equal(worst(['info', 'notice']), 'notice');
  assert.equal(worst([]), 'info');
});
