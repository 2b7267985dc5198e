// Objects in memory under their real ids, for tests of what reads and writes directories.
import { Kind, type ObjectId, type StoredObject } from '../../../src/chunker/object.ts';
import { IdHasher } from '../../../src/chunker/object-id.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

export class ObjectMemory {
  readonly #hasher = new IdHasher();
  readonly objects = new Map<string, StoredObject>();
  /** Ids that were asked for, in order. */
  readonly asked: string[] = [];

  readonly put = (kind: number, refs: Uint8Array, payload: Uint8Array): ObjectId => {
    const id = Buffer.from(this.#hasher.id(kind, refs, payload)) as ObjectId;
    this.objects.set(id.toString('hex'), {
      kind,
      refs: Buffer.from(refs),
      payload: Buffer.from(payload),
    } as StoredObject);
    return id;
  };

  readonly get = async (id: ObjectId): Promise<StoredObject> => {
    const key = id.toString('hex');
    this.asked.push(key);
    const object = this.objects.get(key);
    if (object === undefined) throw new HoldfastError('object-missing', `object ${key} is not there`);
    return object;
  };

  /** How many directories there are. */
  get directories(): number {
    return [...this.objects.values()].filter(({ kind }) => kind === Kind.directory).length;
  }
}
