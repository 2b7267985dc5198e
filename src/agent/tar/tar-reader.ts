// Reads a tar archive of any source member by member: ustar, pax, GNU's and old formats. The archive may be hostile: every length is checked and
// bounded here. Package tar-stream cannot do this: it takes pax values for UTF-8 and knows no sparse files.
import { FileType } from '../../chunker/stat-block.ts';
import { type ByteString, display, fromBytes } from '../../util/byte-string.ts';
import { type ByteReader, cutOff } from './byte-reader.ts';
import { type MemberContext, memberOf } from './member-of.ts';
import { decodePax, type PaxRecords } from './pax.ts';
import { oldGnuMap, paxMap, type SparseMap } from './sparse-maps.ts';
import { BLOCK_BYTES, decodeHeader, malformedTar, padding, type TarHeader } from './tar-header.ts';
import { storedBytes, type TarMember } from './tar-member.ts';

/** Most bytes of a pax header: extended attributes of an entry take 4 MiB, ACLs and a sparse map the rest. */
const MAX_PAX_BYTES = 16 * 1024 * 1024;
/** Most bytes of a name. */
const MAX_NAME_BYTES = 64 * 1024;

export class TarReader {
  readonly #reader: ByteReader;
  readonly #context: MemberContext;
  /** By key, and all their bytes. */
  readonly #global = new Map<ByteString, Buffer>();
  /** Of the current member's data. */
  #left = 0;
  #padding = 0;
  #members = 0;

  constructor(reader: ByteReader, context: MemberContext) {
    this.#reader = reader;
    this.#context = context;
  }

  /** The next member; undefined behind the last. What was not read of the one before is passed over. @throws `source-failed`. */
  async next(): Promise<TarMember | undefined> {
    await this.#reader.skip(this.#left + this.#padding);
    this.#left = this.#padding = 0;
    let pax: PaxRecords = [];
    let longName: ByteString | undefined;
    let longLink: ByteString | undefined;
    for (;;) {
      const block = await this.#header();
      if (block === undefined) return undefined;
      const header = decodeHeader(block) as TarHeader;
      if (header.type === 'x' || header.type === 'X') pax = decodePax(await this.#body(header, MAX_PAX_BYTES));
      else if (header.type === 'g') this.#addGlobal(decodePax(await this.#body(header, MAX_PAX_BYTES)));
      else if (header.type === 'L') longName = untilZero(await this.#body(header, MAX_NAME_BYTES));
      else if (header.type === 'K') longLink = untilZero(await this.#body(header, MAX_NAME_BYTES));
      else if (header.type === 'V') await this.#reader.skip(header.sizeBytes + padding(header.sizeBytes));
      else {
        const named = { ...header, name: longName ?? header.name, linkName: longLink ?? header.linkName };
        const all = this.#global.size === 0 ? pax : [...this.#global, ...pax];
        return await this.#member(memberOf(named, all, this.#context), named.type, block, all);
      }
    }
  }

  /** The next 1 to `maxBytes` of the current member's data, as they come; undefined at their end. @throws `source-failed`. */
  async data(maxBytes: number): Promise<Buffer | undefined> {
    if (this.#left === 0) return undefined;
    const bytes = await this.#reader.some(Math.min(maxBytes, this.#left));
    if (bytes === undefined) throw cutOff();
    this.#left -= bytes.length;
    return bytes;
  }

  /** The member with its sparse map, and where its data ends. */
  async #member(member: TarMember, type: string, block: Buffer, pax: PaxRecords): Promise<TarMember> {
    this.#members++;
    if (type === 'M')
      throw malformedTar(`${display(member.path)} goes on from another volume; put the volumes together`);
    if (member.type === 'link') return member;
    const inArchive = member.sizeBytes;
    if (member.type !== FileType.file) {
      await this.#reader.skip(inArchive + padding(inArchive));
      return { ...member, sizeBytes: 0 };
    }
    this.#left = inArchive;
    this.#padding = padding(inArchive);
    let map: SparseMap | undefined;
    if (type === 'S') map = await oldGnuMap(block, this.#reader);
    else if (pax.length > 0) map = await paxMap(pax, inArchive, this.#reader);
    if (map === undefined) return member;
    this.#left -= map.mapBytes;
    if (this.#left !== storedBytes(map.extents, 0))
      throw malformedTar(`the map of ${display(member.path)}, a sparse file, does not fit its data`);
    return { ...member, sizeBytes: map.sizeBytes, extents: map.extents };
  }

  /** Global records hold from here on; of each key the last. */
  #addGlobal(records: PaxRecords): void {
    for (const [key, value] of records) this.#global.set(key, value);
    let bytes = 0;
    for (const [key, value] of this.#global) bytes += key.length + value.length;
    if (bytes > MAX_PAX_BYTES) throw malformedTar(`its global headers have more than ${MAX_PAX_BYTES} bytes`);
  }

  /** The next block that is not zeros; undefined at the end of the archive. */
  async #header(): Promise<Buffer | undefined> {
    for (let zeros = 0; ; ) {
      const block = await this.#reader.read(BLOCK_BYTES);
      if (block === undefined && zeros === 0)
        throw malformedTar(
          this.#members === 0 && this.#reader.bytesRead === 0
            ? 'it is empty'
            : 'it ends without its end marker: it is cut off; get the whole file',
        );
      if (block === undefined) return undefined;
      if (decodeHeader(block) !== undefined) {
        if (zeros > 0) this.#context.warn('a lone block of zeros stands between two members');
        return block;
      }
      if (++zeros === 2) return await this.#drain();
    }
  }

  /** To the end of the stream: a compressed one says only there whether it was whole. */
  async #drain(): Promise<undefined> {
    let hasMore = false;
    for (
      let bytes = await this.#reader.some(BLOCK_BYTES * 1024);
      bytes !== undefined;
      bytes = await this.#reader.some(BLOCK_BYTES * 1024)
    )
      hasMore ||= bytes.some((byte) => byte !== 0);
    if (hasMore) this.#context.warn('what stands behind the end marker of the archive was left out');
    return undefined;
  }

  async #body({ sizeBytes }: TarHeader, maxBytes: number): Promise<Buffer> {
    if (sizeBytes < 0 || sizeBytes > maxBytes)
      throw malformedTar(`it has a header of ${sizeBytes} bytes, more than the ${maxBytes} that are read`);
    const body = sizeBytes === 0 ? Buffer.alloc(0) : await this.#reader.read(sizeBytes);
    if (body === undefined) throw cutOff();
    await this.#reader.skip(padding(sizeBytes));
    // The records live longer than the stream's chunk that they may be a view of.
    return Buffer.from(body);
  }
}

function untilZero(body: Buffer): ByteString {
  const end = body.indexOf(0);
  return fromBytes(body, 0, end < 0 ? body.length : end);
}
