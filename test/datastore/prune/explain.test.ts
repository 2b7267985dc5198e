// Reasons: sentences as users read them, and by property that each is true and names only what is there and stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { localPeriods } from '../../../src/datastore/prune/calendar.ts';
import { explainChoice } from '../../../src/datastore/prune/explain.ts';
import { chooseByRules, KEEP_RULES, type KeepCounts, type KeepRule } from '../../../src/datastore/prune/keep-rules.ts';
import { formatTime, parseTime } from '../../../src/schema/names.ts';
import { countsArbitrary, PERIOD, timesArbitrary } from './naive-rules.ts';
import { intlPeriods, inZone, ZONES } from './zones.ts';

const at = (text: string): number => parseTime(`${text}Z`);

function reasons(times: readonly number[], counts: KeepCounts, aside: readonly number[] = []): string[] {
  const choice = chooseByRules(times, counts, localPeriods);
  return times.map(explainChoice({ counting: times, aside }, counts, choice, localPeriods));
}

test('kept: the rule, which of its periods, and the period by its name', () => {
  const times = ['2026-11-18T21:00:00', '2026-11-19T21:00:00', '2026-11-20T20:10:00', '2026-11-20T21:00:00'].map(at);
  inZone('UTC', () => {
    assert.deepEqual(reasons(times, { 'keep-last': 3, 'keep-daily': 7 }), [
      'keep-daily 1 of 7: the newest of 2026-11-18',
      'keep-last 3 of 3: one of the 3 newest',
      'keep-last 2 of 3: one of the 3 newest',
      'keep-last 1 of 3: the newest',
    ]);
    const sparse = ['2024-05-01', '2025-12-01', '2026-10-01', '2026-11-09', '2026-11-15', '2026-11-20'];
    const rules = { 'keep-hourly': 1, 'keep-weekly': 1, 'keep-monthly': 1, 'keep-yearly': 2 };
    assert.deepEqual(
      reasons(
        sparse.map((day) => at(`${day}T21:00:00`)),
        rules,
      ),
      [
        'keep-yearly 2 of 2: the newest of 2024',
        'keep-yearly 1 of 2: the newest of 2025',
        'keep-monthly 1 of 1: the newest of 2026-10',
        'keep-weekly keeps the newer 2026-11-15T21:00:00Z of the week from 2026-11-09',
        'keep-weekly 1 of 1: the newest of the week from 2026-11-09',
        'keep-hourly 1 of 1: the newest of the hour from 2026-11-20 21:00',
      ],
    );
  });
});

test('gone: the newer one of its period, the reach of each rule, or what has its period already', () => {
  inZone('UTC', () => {
    const days = ['2026-10-01T21:00:00', '2026-11-17T21:00:00', '2026-11-18T20:00:00', '2026-11-18T21:00:00'].map(at);
    assert.deepEqual(reasons(days, { 'keep-daily': 1 }), [
      'beyond the 1 day of keep-daily',
      'beyond the 1 day of keep-daily',
      'keep-daily keeps the newer 2026-11-18T21:00:00Z of 2026-11-18',
      'keep-daily 1 of 1: the newest of 2026-11-18',
    ]);
    assert.deepEqual(reasons(days, { 'keep-last': 1, 'keep-daily': 1, 'keep-weekly': 3 }).slice(1, 3), [
      'keep-daily 1 of 1: the newest of 2026-11-17',
      'beyond the 1 newest of keep-last; 2026-11-18 has 2026-11-18T21:00:00Z already (keep-last)',
    ]);
    const years = ['2020-01-01', '2021-06-01', '2022-06-01', '2026-06-01'].map((day) => at(`${day}T00:00:00`));
    const [oldest] = reasons(years, { 'keep-daily': 1, 'keep-weekly': 1, 'keep-yearly': 1 });
    assert.equal(oldest, 'beyond the 1 day of keep-daily, the 1 week of keep-weekly and the 1 year of keep-yearly');
    assert.deepEqual(reasons(days.slice(0, 1), { 'keep-last': 0 }), ['every rule is 0 and keeps nothing']);
  });
});

test('a newer one that does not count, or went by an earlier rule, is not hidden', () => {
  inZone('UTC', () => {
    const days = ['2026-11-18T20:00:00', '2026-11-17T21:00:00', '2026-11-16T21:00:00'].map(at);
    const aside = [at('2026-11-18T22:00:00')];
    assert.deepEqual(reasons(days, { 'keep-daily': 2 }, aside).slice(0, 2), [
      'keep-daily 1 of 2: the newest that still counts of 2026-11-18',
      'keep-daily 2 of 2: the newest of 2026-11-17',
    ]);
    assert.deepEqual(reasons(days, { 'keep-last': 2 }, aside).slice(0, 2), [
      'keep-last 1 of 2: the newest that counts',
      'keep-last 2 of 2: one of the 2 newest that count',
    ]);
    // The week of a kept snapshot reaches into the month before, whose newest is out for good.
    const newYear = ['2025-12-20T01:00:00', '2025-12-31T01:00:00', '2026-01-02T01:00:00'].map(at);
    assert.deepEqual(reasons(newYear, { 'keep-weekly': 1, 'keep-monthly': 2 }).slice(0, 2), [
      'keep-monthly 1 of 2: the newest that still counts of 2025-12',
      'keep-weekly keeps the newer 2026-01-02T01:00:00Z of the week from 2025-12-29',
    ]);
  });
});

const KEPT =
  /^(keep-\w+) (\d+) of (\d+): (?:(the newest|the newest that still counts) of (.+)|the newest.*|one of .*)$/;
const INSTEAD = /^(keep-\w+) keeps the newer (\S+Z) of (.+)$/;
const ALREADY = /(?:^|; )([^;]+?) has (\S+Z) already \((keep-\w+)\)/g;

for (const zone of ZONES) {
  test(`every reason is true in ${zone}`, () => {
    const periods = intlPeriods(zone);
    const periodOf = (rule: KeepRule, time: number): string => {
      if (rule === 'keep-last') return String(time);
      const name = periods(time)[PERIOD[rule]];
      return rule === 'keep-hourly'
        ? `the hour from ${name}:00`
        : `${rule === 'keep-weekly' ? 'the week from ' : ''}${name}`;
    };
    inZone(zone, () =>
      fc.assert(
        fc.property(timesArbitrary, countsArbitrary, fc.integer({ min: 0 }), (all, counts, seed) => {
          const aside = all.filter((_, n) => (seed >> (n % 31)) % 8 === 7);
          const times = all.filter((time) => !aside.includes(time));
          const { kept } = chooseByRules(times, counts, localPeriods);
          const active = KEEP_RULES.filter((rule) => (counts[rule] ?? 0) > 0);
          const ofRule = (rule: KeepRule): number[] => times.filter((time) => kept.get(time)?.rule === rule);
          const sentences = reasons(times, counts, aside);
          assert.equal(sentences.length, times.length);
          for (const [n, time] of times.entries()) {
            const sentence = sentences[n] as string;
            const by = kept.get(time);
            if (by !== undefined) {
              const [, rule, place, count, which, period] = KEPT.exec(sentence) ?? assert.fail(sentence);
              assert.deepEqual([rule, Number(count)], [by.rule, counts[by.rule]]);
              assert.equal(ofRule(by.rule).filter((other) => other >= time).length, Number(place), sentence);
              if (by.rule === 'keep-last') continue;
              assert.equal(period, periodOf(by.rule, time));
              const isNewest = !all.some((other) => other > time && periodOf(by.rule, other) === period);
              assert.equal(which === 'the newest', isNewest, sentence);
              continue;
            }
            const instead = INSTEAD.exec(sentence);
            if (instead !== null) {
              const [, rule, label, period] = instead as unknown as [string, KeepRule, string, string];
              const other = parseTime(label);
              assert.ok(other > time && kept.get(other)?.rule === rule, sentence);
              assert.deepEqual([periodOf(rule, time), periodOf(rule, other)], [period, period]);
              continue;
            }
            // Each rule is answered for: it is at its end, or the period has one.
            const already = [...sentence.matchAll(ALREADY)] as unknown as [string, string, string, KeepRule][];
            for (const [, period, label, rule] of already) {
              const other = parseTime(label);
              assert.equal(formatTime(other), label);
              assert.equal(kept.get(other)?.rule, rule, sentence);
              assert.ok(
                active.some((each) => periodOf(each, other) === period && periodOf(each, time) === period),
                sentence,
              );
            }
            for (const rule of active) {
              const isBeyond = sentence.includes(` of ${rule}`) && sentence.startsWith('beyond');
              const hasOne = already.some(([, , label]) => periodOf(rule, parseTime(label)) === periodOf(rule, time));
              assert.notEqual(isBeyond, hasOne, `${rule}: ${sentence}`);
              if (isBeyond) assert.equal(ofRule(rule).length, counts[rule], sentence);
            }
            if (active.length === 0) assert.equal(sentence, 'every rule is 0 and keeps nothing');
          }
        }),
        { numRuns: 150 },
      ),
    );
  });
}
