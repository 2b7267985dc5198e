// The body of a request between a line that gives when it likes and a reader who rests when he likes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestBody } from '../../../src/transport/server/request-body.ts';

/** A body, and what its line and its reader heard. */
function listened() {
  const heard: string[] = [];
  const body = new RequestBody(() => heard.push('wake'));
  const read = (part: (text: string) => void = () => {}): void =>
    body.read({
      part: (bytes) => {
        heard.push(bytes.toString());
        part(bytes.toString());
      },
      end: () => heard.push('end'),
      lost: () => heard.push('lost'),
    });
  return { heard, body, read };
}

test('what came before somebody reads is kept as it was, and handed out once', () => {
  const { heard, body, read } = listened();
  const line = Buffer.from('one');
  body.give(line);
  line.write('two');
  body.give(line);
  body.finish();
  assert.ok(body.isPaused && body.isWhole);
  assert.deepEqual(heard, []);
  read();
  assert.deepEqual(heard, ['one', 'two', 'wake', 'end']);
});

test('the end waits until the reader goes on', () => {
  const { heard, body, read } = listened();
  read(() => body.pause());
  body.give(Buffer.from('one'));
  body.give(Buffer.from('two'));
  body.finish();
  assert.deepEqual(heard, ['wake', 'one']);
  body.resume();
  assert.deepEqual(heard, ['wake', 'one', 'two']);
  body.resume();
  assert.deepEqual(heard, ['wake', 'one', 'two', 'wake', 'end']);
});

test('a reader that rests and goes on at once hears each part in its order, and one end', () => {
  const { heard, body, read } = listened();
  for (const text of ['one', 'two', 'three']) body.give(Buffer.from(text));
  body.finish();
  read(() => {
    body.pause();
    body.resume();
  });
  assert.deepEqual(
    heard.filter((word) => word !== 'wake'),
    ['one', 'two', 'three', 'end'],
  );
});

test('another reader takes over, also behind the end', () => {
  const { heard, body, read } = listened();
  read();
  body.give(Buffer.from('one'));
  body.pause();
  body.give(Buffer.from('two'));
  read();
  body.finish();
  read();
  assert.deepEqual(heard, ['wake', 'one', 'two', 'wake', 'end', 'wake', 'end']);
});

test('a line that breaks is told at once, but not when all had come', () => {
  const early = listened();
  early.read();
  early.body.pause();
  early.body.give(Buffer.from('one'));
  early.body.lose();
  early.body.lose();
  assert.deepEqual(early.heard, ['wake', 'lost']);
  const late = listened();
  late.body.lose();
  late.read();
  assert.deepEqual(late.heard, ['lost']);
  const whole = listened();
  whole.body.finish();
  whole.body.lose();
  whole.read();
  assert.deepEqual(whole.heard, ['wake', 'end']);
});
