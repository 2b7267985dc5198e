// Which events a matcher takes: every kind of rule, all and any, inverted, and patterns that would take for ever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWithin, parseDailyWindow } from '../../src/notify/daily-window.ts';
import { matches, requireRules, route } from '../../src/notify/matcher.ts';
import { event, matcher } from './fixture.ts';

process.env.TZ = 'Europe/Berlin';

const at = (text: string): number => Date.parse(text) / 1000;

test('severities, fields and windows match as Proxmox writes them', () => {
  const takes = (more: Parameters<typeof matcher>[0], e = event()) => matches(matcher(more), e);
  assert.ok(takes({}));
  assert.ok(takes({ severity: ['warning,error'] }));
  assert.ok(!takes({ severity: ['info', 'error'] }), 'all of them must hold');
  assert.ok(takes({ severity: ['info', 'error'], mode: 'any' }));
  assert.ok(takes({ field: ['exact:type=prune,gc'] }));
  assert.ok(takes({ field: ['exact:hostname=backup1', 'exact:datastore=main'] }));
  assert.ok(!takes({ field: ['exact:datastore=mai'] }));
  assert.ok(takes({ field: ['regex:datastore=^ma'] }));
  assert.ok(!takes({ field: ['regex:datastore=^a'] }));
  assert.ok(!takes({ field: ['regex:nothing=.*'] }), 'a field that is not there matches nothing');
  assert.ok(!takes({ field: ['regex:constructor=.*'] }));
  assert.ok(takes({ field: ['exact:datastore=a=b'] }, event({ fields: { datastore: 'a=b' } })));
  assert.ok(takes({ calendar: ['2-3'] }), 'half past two in Berlin');
  assert.ok(!takes({ calendar: ['1-2'] }));
  assert.ok(takes({ severity: ['info'], calendar: ['2-3'], mode: 'any' }));
  assert.ok(!takes({ severity: ['error'], calendar: ['3-4'] }));
  assert.ok(!takes({ invert: true }));
  assert.ok(takes({ severity: ['info'], invert: true }));
});

test('windows know weekdays, go over midnight, and follow the local clock', () => {
  const within = (window: string, time: string) => isWithin(parseDailyWindow(window), at(time));
  // 2026-11-20 is a Friday.
  assert.ok(within('mon..fri 8:00-17:30', '2026-11-20T17:29:00+01:00'));
  assert.ok(!within('mon..fri 8:00-17:30', '2026-11-20T17:30:00+01:00'));
  assert.ok(!within('mon-fri 8-17', '2026-11-21T12:00:00+01:00'));
  assert.ok(within('sun,tue-wed,fri 9-17', '2026-11-22T12:00:00+01:00'));
  assert.ok(within('sat..mon 9-17', '2026-11-22T12:00:00+01:00'), 'weekdays go round');
  assert.ok(!within('sat..mon 9-17', '2026-11-24T12:00:00+01:00'));
  assert.ok(within('fri 22-6', '2026-11-20T23:00:00+01:00'));
  assert.ok(within('fri 22-6', '2026-11-21T05:59:00+01:00'), 'still the night of Friday');
  assert.ok(!within('fri 22-6', '2026-11-20T05:59:00+01:00'));
  assert.ok(within('0-24', '2026-11-20T23:59:00+01:00'));
  assert.ok(within('8-9', '2026-07-20T06:30:00Z'), 'summer time');
  assert.ok(!within('8-9', '2026-11-20T06:30:00Z'));
  for (const text of ['', '8', '8-8', '25-26', '8:60-9', '8-24:01', 'foo 8-9', 'mon.. 8-9', 'moon 8-9', 'mon tue 8-9'])
    assert.throws(() => parseDailyWindow(text), { code: 'bad-argument' }, text);
});

test('each target is told once, by matchers that are enabled', () => {
  const routed = route(event(), [
    matcher({ targets: ['a', 'b'] }),
    matcher({ targets: ['b', 'c'], severity: ['error'] }),
    matcher({ targets: ['d'], enabled: false }),
    matcher({ targets: ['e'], severity: ['info'] }),
  ]);
  assert.deepEqual(routed, { targets: ['a', 'b', 'c'], problems: [] });
});

test('a pattern that would take for ever is stopped, and the event is told', () => {
  const evil = matcher({ name: 'evil', field: ['regex:datastore=^(a+)+$'] });
  const start = performance.now();
  const { targets, problems } = route(event({ fields: { datastore: `${'a'.repeat(60)}b` } }), [evil]);
  assert.ok(performance.now() - start < 2000);
  assert.deepEqual(targets, ['mail']);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? '', /matcher evil .* takes too long/);
});

test('rules that are none are refused', () => {
  const none = { severity: [], field: [], calendar: [] };
  for (const wrong of [
    { severity: ['fatal'] },
    { severity: ['error,'] },
    { field: ['type=gc'] },
    { field: ['exact:type='] },
    { field: ['glob:type=*'] },
    { field: ['regex:type=('] },
    { field: [`regex:type=${'a'.repeat(257)}`] },
    { calendar: ['always'] },
  ])
    assert.throws(() => requireRules({ ...none, ...wrong }), { code: 'bad-argument' }, JSON.stringify(wrong));
  requireRules({ severity: ['info, error'], field: ['regex:type=^(gc|prune)$'], calendar: ['mon 8-9'] });
});
