// The table of statuses in the manual of the protocol is the one that the servers answer by.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../src/util/errors.ts';
import { httpStatusOf } from '../../src/util/http-status.ts';

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

/** Code -> status, of the rows of section 3 that name codes. */
function documented(): Map<string, number> {
  const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
  const [, section = ''] = /^## 3\. Errors\n(.*?)^## 4/ms.exec(text) ?? [];
  const rows = [...section.matchAll(/^\| (\d{3}) \| (.*) \|$/gm)].filter(
    ([, status]) => !/^[45]00$/.test(status ?? ''),
  );
  const pairs = rows.flatMap(([, status, names = '']) =>
    [...names.matchAll(/`([a-z-]+)`/g)].map(([, code = '']): [string, number] => [code, Number(status)]),
  );
  assert.equal(new Set(pairs.map(([code]) => code)).size, pairs.length, 'no code stands twice');
  return new Map(pairs);
}

test('section 3 of the protocol has the status of every code', () => {
  const named = documented();
  assert.ok(named.size > 10);
  for (const code of named.keys()) assert.ok(CODES.includes(code as ErrorCode), `${code} is in the catalogue`);
  for (const code of CODES) {
    const otherwise = ERROR_CODES[code][0] === 'caller' ? 400 : 500;
    assert.equal(httpStatusOf({ code, data: {} }), named.get(code) ?? otherwise, code);
  }
});

test('an object is damaged by the caller when the error says what the caller is to send', () => {
  const status = (data: Record<string, unknown>) => httpStatusOf({ code: 'object-damaged', data });
  assert.deepEqual([status({ index: 0 }), status({ ranges: [] }), status({ objects: [] })], [400, 400, 500]);
  assert.equal(httpStatusOf({ code: 'object-missing', data: { index: 0 } }), 500);
});
