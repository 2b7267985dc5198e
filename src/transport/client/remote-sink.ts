// One thread's hand in a session at a server. Objects are held until the call that made them ends, or the room is full; then the server is asked
// what it knows, parents first: of a page that is known nothing else is asked, and nothing sent. Where nothing is in scope what no thread of
// the session has put is new, and leaves at once.
import { createCodec } from '../../chunker/create-codec.ts';
import {
  ID_BYTES,
  Kind,
  MAX_OBJECT_BYTES,
  type ObjectId,
  PAGE_BYTES,
  type StoredObject,
} from '../../chunker/object.ts';
import type { ObjectCodec } from '../../chunker/object-codec.ts';
import { HoldfastError } from '../../util/errors.ts';
import { bitOf, eachFrame, idKey, idsOf } from './frames.ts';
import type { HubLink } from './hub-link.ts';
import type { RemoteJoin } from './hub-messages.ts';
import { KnownIds } from './known-ids.ts';
import { OutBatch } from './out-batch.ts';
import { PageForesight } from './page-foresight.ts';
import { SentIds } from './sent-ids.ts';

const LARGEST_PIECE_BYTES = 1024 * 1024;
/** A page and the piece that does not fit any more. */
const HOLDING_BYTES = PAGE_BYTES + LARGEST_PIECE_BYTES;
/** Refs and payloads of objects that are held beside the data. */
const MAX_HELD_OBJECT_BYTES = 2 * 1024 * 1024;

const NO_REFS = new Uint8Array(0);

interface HeldData {
  readonly at: number;
  readonly length: number;
}

interface HeldObject extends StoredObject {
  readonly id: ObjectId;
  readonly key: string;
}

export interface RemoteCounters {
  objectsNew: number;
  objectsReused: number;
  /** Plain bytes of new objects. */
  bytesNew: number;
  /** Stays 0: what lies on the disk is the server's to tell. */
  bytesStored: number;
}

export class RemoteSink {
  readonly #link: HubLink;
  readonly #codec: ObjectCodec;
  readonly #memory: Uint8Array;
  readonly #batch: OutBatch;
  readonly #known = new KnownIds();
  /** Asked about and not known, until the next put. */
  readonly #absent = new Set<string>();
  /** What the object that was read last names: asked about in one go as soon as one of them is. */
  #lastRefs: Uint8Array = NO_REFS;
  #holding: Uint8Array | undefined;
  #heldBytes = 0;
  readonly #data = new Map<string, HeldData>();
  #objects = new Map<string, HeldObject>();
  #objectBytes = 0;
  #isThorough: boolean;
  readonly #sent: SentIds | undefined;
  #counters = zeroCounters();
  readonly #foresight: PageForesight;

  /** `memory` is the thread's whole memory, in which data objects lie when they are put. */
  constructor(join: RemoteJoin, link: HubLink, memory: Uint8Array) {
    this.#link = link;
    this.#codec = createCodec(join.key, join.compressionLevel);
    this.#memory = memory;
    this.#isThorough = join.isThorough;
    this.#sent = join.sentIds === undefined ? undefined : new SentIds(join.sentIds);
    this.#batch = new OutBatch(link);
    this.#foresight = new PageForesight(
      () => !this.#isThorough,
      (offset, length) => this.#codec.dataId(memory, offset, length),
      (page, refs) => {
        this.#known.add(idKey(page));
        this.#counters.objectsReused += 1 + refs.length / ID_BYTES;
      },
    );
  }

  /** Puts the data object that lies in the thread's memory at `offset` (4 bytes before it are borrowed for the hash); the id is valid until the next call. */
  putData(offset: number, length: number): ObjectId {
    const id = this.#codec.dataId(this.#memory, offset, length);
    const key = idKey(id);
    if (this.#known.has(key) || this.#data.has(key)) {
      this.#counters.objectsReused++;
      return id;
    }
    if (length > HOLDING_BYTES) throw tooLarge(length);
    if (this.#sent?.isNew(id)) {
      this.#store({ kind: Kind.data, id, key, refs: NO_REFS, payload: this.#memory.subarray(offset, offset + length) });
      return id;
    }
    if (this.#heldBytes + length > HOLDING_BYTES) this.#resolve();
    this.#holding ??= Buffer.allocUnsafeSlow(HOLDING_BYTES);
    this.#holding.set(this.#memory.subarray(offset, offset + length), this.#heldBytes);
    this.#data.set(key, { at: this.#heldBytes, length });
    this.#heldBytes += length;
    return id;
  }

  /** Pages that the base has are known, and what they name too, unless something below them is damaged. */
  get foresight(): PageForesight {
    return this.#foresight;
  }

  /** Puts any object. That it names nothing unknown is found out at the end of the call at the latest. @throws `out-of-scope`, `too-large`. */
  put(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    const bytes = refs.length + payload.length;
    if (bytes > MAX_OBJECT_BYTES) throw tooLarge(bytes);
    const id = this.#codec.id(kind, refs, payload);
    const key = idKey(id);
    if (this.#known.has(key) || this.#objects.has(key) || (kind === Kind.data && this.#data.has(key))) {
      this.#counters.objectsReused++;
      return id;
    }
    const isReady = keysOf(refs).every((named) => this.#known.has(named));
    if (isReady && this.#sent?.isNew(id)) {
      this.#store({ kind, id, key, refs, payload });
      return id;
    }
    this.#objects.set(key, { id, key, kind, refs: new Uint8Array(refs), payload: new Uint8Array(payload) });
    this.#objectBytes += bytes;
    if (this.#objectBytes > MAX_HELD_OBJECT_BYTES) this.#resolve();
    return id;
  }

  /** Whether all of these ids, one after the other, may be named and can be read. */
  knows(ids: Uint8Array): boolean {
    const asked = this.#unsure(ids);
    if (asked.length === 0) return this.#allKnown(ids);
    const siblings = this.#unsure(this.#lastRefs);
    this.#lastRefs = NO_REFS;
    this.#askAbout(asked.every((key) => siblings.includes(key)) ? siblings : asked);
    return this.#allKnown(ids);
  }

  /** The id that an object has in the session's space. */
  id(kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId {
    return this.#codec.id(kind, refs, payload);
  }

  /** Reads an object that the session may read. @throws `object-missing`, `object-damaged`. */
  get(id: ObjectId): StoredObject {
    const key = idKey(id);
    if (this.#objects.has(key) || this.#data.has(key)) this.settle();
    else this.#batch.flush();
    const object = readObject(this.#link, this.#codec, id);
    this.#lastRefs = object.refs;
    return object;
  }

  /** Everything held is known at the server, or on its way to the main thread, when this returns. */
  settle(): void {
    this.#resolve();
    this.#absent.clear();
    this.#batch.flush();
  }

  /** Something that the server knew turned out bad: from now on it is asked about every object. */
  beThorough(): void {
    this.#isThorough = true;
    this.#known.clear();
  }

  /** Counters since the last call. */
  takeCounters(): RemoteCounters {
    const counters = this.#counters;
    this.#counters = zeroCounters();
    return counters;
  }

  close(): void {
    this.#link.close();
  }

  #resolve(): void {
    if (this.#data.size === 0 && this.#objects.size === 0) return;
    const data = new Map(this.#data);
    const objects = this.#objects;
    // Whatever goes wrong below, none of it is held any more.
    this.#data.clear();
    this.#heldBytes = 0;
    this.#objects = new Map();
    this.#objectBytes = 0;
    this.#absent.clear();
    if (!this.#isThorough) this.#dropKnownTrees(data, objects);
    const named = [...objects.values()].flatMap(({ refs }) => keysOf(refs)).filter((key) => !objects.has(key));
    const asked = new Set([...data.keys(), ...named, ...(this.#isThorough ? objects.keys() : [])]);
    this.#askAbout([...asked].filter((key) => !this.#known.has(key)));
    for (const [key, held] of data) {
      if (this.#absent.has(key)) this.#storeData(key, held);
      else this.#counters.objectsReused++;
    }
    for (const object of objects.values()) {
      if (this.#absent.has(object.key)) this.#storeObject(object);
      else this.#counters.objectsReused++;
    }
  }

  /** Asks about the objects that name others; of those that are known what they name is known too. */
  #dropKnownTrees(data: Map<string, HeldData>, objects: Map<string, HeldObject>): void {
    if (objects.size === 0) return;
    this.#askAbout([...objects.keys()]);
    for (const { key, refs } of [...objects.values()]) {
      if (this.#absent.has(key)) continue;
      objects.delete(key);
      this.#counters.objectsReused++;
      for (const named of keysOf(refs)) {
        if (!data.delete(named)) continue;
        this.#known.add(named);
        this.#counters.objectsReused++;
      }
    }
  }

  #askAbout(keys: readonly string[]): void {
    if (keys.length === 0) return;
    const bitmap = this.#link.have(idsOf(keys));
    keys.forEach((key, place) => {
      if (bitOf(bitmap, place)) this.#known.add(key);
      else this.#absent.add(key);
    });
  }

  #unsure(ids: Uint8Array): string[] {
    return keysOf(ids).filter(
      (key) => !this.#known.has(key) && !this.#absent.has(key) && !this.#data.has(key) && !this.#objects.has(key),
    );
  }

  #allKnown(ids: Uint8Array): boolean {
    return keysOf(ids).every((key) => this.#known.has(key) || this.#data.has(key) || this.#objects.has(key));
  }

  #storeData(key: string, { at, length }: HeldData): void {
    const payload = (this.#holding as Uint8Array).subarray(at, at + length);
    this.#store({ kind: Kind.data, id: Buffer.from(key, 'latin1') as ObjectId, key, refs: NO_REFS, payload });
  }

  #storeObject(object: HeldObject): void {
    for (const key of keysOf(object.refs)) if (this.#absent.has(key)) throw outOfScope(key);
    this.#store(object);
  }

  #store(object: HeldObject): void {
    const { refs, payload, key } = object;
    this.#batch.add(this.#codec.recordBound(refs.length, payload.length), (target) =>
      this.#codec.encode(target, object),
    );
    this.#absent.delete(key);
    this.#known.add(key);
    this.#counters.objectsNew++;
    this.#counters.bytesNew += payload.length;
  }
}

/** Reads one object and checks it against its id. @throws `object-missing`, `object-damaged`. */
export function readObject(link: HubLink, codec: ObjectCodec, id: ObjectId): StoredObject {
  const frames = link.answer(link.ask('get', id));
  for (const { record } of eachFrame(frames)) if (record.length > 0) return codec.open(record, id);
  const hex = Buffer.from(id).toString('hex');
  throw new HoldfastError(
    'object-missing',
    `the server has no good copy of object ${hex.slice(0, 16)}…, or it may not be read in this session`,
    { data: { id: hex } },
  );
}

function keysOf(ids: Uint8Array): string[] {
  return Array.from({ length: ids.length / ID_BYTES }, (_, place) => idKey(ids, place * ID_BYTES));
}

const zeroCounters = (): RemoteCounters => ({ objectsNew: 0, objectsReused: 0, bytesNew: 0, bytesStored: 0 });

function tooLarge(bytes: number): HoldfastError {
  return new HoldfastError('too-large', `an object of ${bytes} bytes is over the limit of ${MAX_OBJECT_BYTES}`);
}

function outOfScope(key: string): HoldfastError {
  const hex = Buffer.from(key, 'latin1').toString('hex');
  return new HoldfastError(
    'out-of-scope',
    `object ${hex.slice(0, 16)}… is named but was neither put in this session nor is in its scope`,
    { data: { id: hex } },
  );
}
