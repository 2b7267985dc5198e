// A long list goes out as the text that it would be in one piece, and the event loop goes on meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Fastify from 'fastify';
import { sendData } from '../../../src/api/dialect/answer.ts';
import type { Format } from '../../../src/api/dialect/dialect.ts';

async function answered(format: Format, data: unknown, beside: ReadonlyMap<string, unknown>): Promise<string> {
  const app = Fastify();
  app.get('/', async (_, reply) => {
    await sendData(reply, format, data, beside);
  });
  try {
    const { body, headers } = await app.inject({ method: 'GET', url: '/' });
    assert.equal(headers['content-type'], 'application/json;charset=UTF-8');
    assert.equal(Number(headers['content-length']), Buffer.byteLength(body));
    return body;
  } finally {
    await app.close();
  }
}

test('lists of every length are the text of one piece', async () => {
  for (const count of [0, 1, 999, 1000, 1001, 2500]) {
    const rows = Array.from({ length: count }, (_, n) => ({ n, text: `ü"${n}`, gone: undefined }));
    assert.equal(
      await answered('json', rows, new Map([['total', count]])),
      JSON.stringify({ total: count, data: rows }),
    );
    assert.equal(await answered('extjs', rows, new Map()), JSON.stringify({ success: true, status: 200, data: rows }));
  }
  assert.equal(await answered('json', [null, undefined, 1], new Map()), '{"data":[null,null,1]}');
  for (const data of [null, 'text', { a: 1 }, true])
    assert.equal(await answered('json', data, new Map()), JSON.stringify({ data }));
  assert.equal(await answered('json', undefined, new Map()), '{"data":null}');
});

test('others have their turn while a long list becomes text', async () => {
  let turns = 0;
  const rows = Array.from({ length: 10_000 }, (_, n) => ({
    get n() {
      // Whoever waits is served before the last row is reached.
      if (n === 0) setImmediate(() => turns++);
      if (n === 9999) assert.ok(turns > 0);
      return n;
    },
  }));
  assert.equal((JSON.parse(await answered('json', rows, new Map())) as { data: unknown[] }).data.length, 10_000);
});
