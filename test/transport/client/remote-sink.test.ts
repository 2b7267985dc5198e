// One thread's sink with a hub that is a fake: what it hands over, and when.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createCodec } from '../../../src/chunker/create-codec.ts';
import { Kind } from '../../../src/chunker/object.ts';
import { eachFrame } from '../../../src/transport/client/frames.ts';
import type { HubLink } from '../../../src/transport/client/hub-link.ts';
import type { RemoteJoin } from '../../../src/transport/client/hub-messages.ts';
import { RemoteSink } from '../../../src/transport/client/remote-sink.ts';
import { SentIds } from '../../../src/transport/client/sent-ids.ts';
import { SharedRoom } from '../../../src/transport/client/shared-room.ts';
import { frame } from './memory-server.ts';
import { hexIds } from './memory-store.ts';

const NO_REFS = new Uint8Array(0);

/** A hub that knows nothing but what was handed over. */
class FakeHub {
  readonly records = new Map<string, Buffer>();
  readonly #room = new SharedRoom();

  takePiece(): { number: number; bytes: Uint8Array } {
    const number = this.#room.takePiece() as number;
    return { number, bytes: this.#room.piece(number) };
  }
  sendPiece(piece: number, bytes: number): void {
    this.send(this.#room.piece(piece).subarray(0, bytes));
    this.#room.givePiece(piece);
  }
  send(frames: Uint8Array): void {
    for (const { record } of eachFrame(frames))
      this.records.set(Buffer.from(record.subarray(24, 56)).toString('hex'), Buffer.from(record));
  }
  have(ids: Uint8Array): Uint8Array {
    return new Uint8Array(Math.ceil(ids.length / 256));
  }
  ask(_method: string, ids: Uint8Array): string {
    return hexIds(ids)[0] as string;
  }
  answer(id: string): Uint8Array {
    return Buffer.concat(frame(this.records.get(id) ?? Buffer.alloc(0)));
  }
}

function sink(hub: FakeHub, memory: Uint8Array): RemoteSink {
  const join = { key: undefined, compressionLevel: 1, isThorough: false, sentIds: new SentIds().buffer };
  return new RemoteSink(join as unknown as RemoteJoin, hub as unknown as HubLink, memory);
}

test('an object that was just put can be read before the call has ended', () => {
  const hub = new FakeHub();
  const here = sink(hub, new Uint8Array(0));
  const id = here.put(Kind.blob, NO_REFS, Buffer.from('just now'));
  assert.equal(hub.records.size, 0);
  assert.equal(Buffer.from(here.get(id).payload).toString(), 'just now');
});

test('data leaves in pieces as they fill, and all of it at the end of the call', () => {
  const hub = new FakeHub();
  const memory = randomBytes(4 + 3_000_000);
  const here = sink(hub, memory);
  const codec = createCodec(undefined);
  const wanted = new Map<string, Buffer>();
  for (let at = 4; at < memory.length; at += 100_000) {
    const id = Buffer.from(here.putData(at, 100_000)).toString('hex');
    wanted.set(id, Buffer.from(memory.subarray(at, at + 100_000)));
  }
  assert.ok(hub.records.size >= 15 && hub.records.size < 30, `${hub.records.size} left before the end`);
  here.settle();
  assert.equal(hub.records.size, 30);
  for (const [id, payload] of wanted)
    assert.ok(payload.equals(codec.open(hub.records.get(id) as Buffer, Buffer.from(id, 'hex')).payload));
  assert.deepEqual(here.takeCounters(), { objectsNew: 30, objectsReused: 0, bytesNew: 3_000_000, bytesStored: 0 });
});
