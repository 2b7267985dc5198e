// The digest of a night as it arrives in a mailbox.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type EndedTask } from '../../src/notify/digest.ts';
import { boundedEvent } from '../../src/notify/event.ts';
import { html, plainText } from '../../src/notify/render.ts';
import { NOW } from './fixture.ts';

process.env.TZ = 'Europe/Berlin';

const window = { since: NOW - 86_400, until: NOW, node: 'backup1' };
const task = (more: Partial<EndedTask>): EndedTask => ({
  type: 'backup',
  id: 'main:vm/100',
  start: NOW - 7200,
  end: NOW - 7200 + 95,
  outcome: 'ok',
  status: 'OK',
  ...more,
});

test('what went wrong stands first, with times, sizes, warnings and counts', () => {
  const event = digestOf(
    [
      task({ sizeBytes: 1536 * 1024 }),
      task({ id: 'main:vm/101', outcome: 'warning', status: 'WARNINGS: 1', warnings: ['file <a> changed'] }),
      task({ type: 'verify', id: 'main', end: NOW, outcome: 'error', status: 'disk <full>' }),
    ],
    window,
  );
  assert.equal(event.severity, 'error');
  assert.equal(event.subject, 'Backups of backup1: 1 failed, 1 with warnings, 1 well');
  assert.equal(
    plainText(event),
    [
      'From 2026-11-21 02:30 to 2026-11-22 02:30: 1 failed, 1 with warnings, 1 well.',
      '',
      'Warnings:',
      'backup main:vm/101: file <a> changed',
      '',
      'what                when                how long      size  result',
      '------------------  ----------------  ----------  --------  -----------',
      'verify main         2026-11-22 00:30   2 h 0 min            disk <full>',
      'backup main:vm/101  2026-11-22 00:30  1 min 35 s            WARNINGS: 1',
      'backup main:vm/100  2026-11-22 00:30  1 min 35 s  1.50 MiB  OK',
    ].join('\n'),
  );
  const page = html(event);
  assert.match(page, /disk &lt;full&gt;/);
  assert.match(page, /file &lt;a&gt; changed/);
  assert.doesNotMatch(page, /<full>|<a>/);
  assert.equal(page.match(/<tr>/g)?.length, 4);
});

test('a night without tasks says so, and a long one is bounded', () => {
  const none = digestOf([], window);
  assert.equal(none.subject, 'Backups of backup1: nothing ran');
  assert.equal(none.severity, 'info');
  assert.match(none.text, /no task ended/);
  const many = Array.from({ length: 3000 }, (_, n) =>
    task({ id: `main:vm/${n}`, outcome: 'warning', warnings: ['w'] }),
  );
  const event = boundedEvent(digestOf(many, { ...window, more: 7 }));
  assert.match(event.text, /7 more tasks ended/);
  assert.match(event.text, /and 2800 more$/);
  assert.equal(event.table?.rows.length, 1001);
});
