"""Objects, ids, records, pages and lists of docs/format.md, written from that document alone (sections 2 to 4, space plain).

BLAKE3 is from its specification: chunks are hashed side by side, each a lane of 64 bits in one long integer.
"""
import struct
import subprocess
from array import array
from collections import namedtuple

DATA, PAGE, LIST, BLOB = 1, 2, 3, 5
PAGE_BYTES = 16 << 20
BLOCK = 4096
LIST_ENTRIES = 1024

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED_HASH = 1, 2, 4, 8, 16


def lanes(values):
    return int.from_bytes(array('Q', values).tobytes(), 'little')


def unlanes(number, count):
    return array('Q', number.to_bytes(8 * count, 'little'))


def compress(count, chaining, words, counters, length, flags):
    """BLAKE3's compression function on `count` inputs at once; its first 8 words."""
    one, mask = lanes([1] * count), lanes([0xFFFFFFFF] * count)
    v = [*chaining, *(one * word for word in IV[:4]), counters, 0, one * length, one * flags]
    for _ in range(7):
        for n, (a, b, c, d) in enumerate(MIXED):
            for word, right, left in ((words[2 * n], 16, 12), (words[2 * n + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & mask
                x = v[d] ^ v[a]
                v[d] = (x >> right | x << 32 - right) & mask
                v[c] = (v[c] + v[d]) & mask
                x = v[b] ^ v[c]
                v[b] = (x >> left | x << 32 - left) & mask
        words = [words[place] for place in PERMUTATION]
    return [v[n] ^ v[n + 8] for n in range(8)]


def hash_chunks(data, first, count, key, flags, root):
    """The chaining values of chunks of equal length, as 8 columns."""
    chaining = [lanes([word] * count) for word in key]
    size = len(data) // count
    counters = lanes(range(first, first + count))
    for at in range(0, max(size, 1), 64):
        length = min(64, size - at)
        last = at + 64 >= size
        padded = data.ljust(-(-len(data) // 64) * 64 or 64, b'\0') if count == 1 else data
        stride = max(len(padded) // count // 4, 16)
        every = array('I', padded)
        words = [lanes(every[at // 4 + n :: stride][:count]) for n in range(16)]
        marks = flags | (CHUNK_START if at == 0 else 0) | ((CHUNK_END | root) if last else 0)
        chaining = compress(count, chaining, words, counters, length, marks)
    return [unlanes(word, count) for word in chaining]


def blake3(data, key=None):
    """BLAKE3 with 32 bytes of output; with a key of 32 bytes its keyed mode."""
    words, flags = (IV, 0) if key is None else (struct.unpack('<8I', key), KEYED_HASH)
    whole = max(len(data) - 1, 0) // 1024
    columns = hash_chunks(data[whole * 1024 :], whole, 1, words, flags, 0 if whole else ROOT)
    if whole:
        columns = [a + b for a, b in zip(hash_chunks(data[: whole * 1024], 0, whole, words, flags, 0), columns)]
    while len(columns[0]) > 1:
        pairs = len(columns[0]) // 2
        block = [lanes(column[side : 2 * pairs : 2]) for side in (0, 1) for column in columns]
        marks = flags | PARENT | (ROOT if len(columns[0]) == 2 else 0)
        parents = compress(pairs, [lanes([word] * pairs) for word in words], block, 0, 64, marks)
        columns = [unlanes(parent, pairs) + column[2 * pairs :] for parent, column in zip(parents, columns)]
    return struct.pack('<8I', *(column[0] for column in columns))


class Object(namedtuple('Object', 'kind refs payload')):
    """Section 2. `refs` are ids of 32 bytes."""

    @property
    def id(self):
        key = blake3(b'holdfast object id v1\0plain\0' + bytes([self.kind]))
        return blake3(struct.pack('<I', len(self.refs)) + b''.join(self.refs) + self.payload, key)


def zstd(payload, *options):
    return subprocess.run(['zstd', '-q', '-c', *options], input=payload, stdout=subprocess.PIPE, check=True).stdout


def encode_record(thing, object_id):
    """Section 3: the object as a record of space plain."""
    packed = zstd(thing.payload) if thing.payload else b''
    codec, stored = (1, packed) if thing.payload and len(packed) <= 0.97 * len(thing.payload) else (0, thing.payload)
    numbers = (len(thing.refs), len(stored), len(thing.payload))
    head = struct.pack('<4s4B3I4x', b'HDFR', 1, thing.kind, codec, 0, *numbers)
    return seal_record(head + object_id + b''.join(thing.refs) + stored)


def seal_record(unsealed):
    return unsealed + blake3(unsealed)[:16]


def decode_record(record, wanted):
    """The object of a record whose checksum, lengths and id hold."""
    magic, version, kind, codec, crypt, refs, stored, raw, bases = struct.unpack_from('<4s4B3IB', record)
    expect((magic, version, crypt, bases) == (b'HDFR', 1, 0, 0), 'a record that this client cannot read')
    payload_at = 56 + 32 * refs
    expect(len(record) == payload_at + stored + 16, 'lengths that are not those of the record')
    expect(blake3(record[:-16])[:16] == record[-16:], 'a bad checksum')
    payload = record[payload_at:-16]
    payload = zstd(payload, '-d') if codec == 1 else payload
    names = tuple(record[at : at + 32] for at in range(56, payload_at, 32))
    thing = Object(kind, names, payload)
    expect(len(payload) == raw and thing.id == wanted == record[24:56], f'content that is not that of {wanted.hex()}')
    return thing


def expect(holds, what):
    if not holds:
        raise ValueError(f'the server sent {what}')


# Section 4. An entry is (length, id), or (length, None) for a hole.
def encode_page(entries):
    lengths = (length | (1 << 31 if ref is None else 0) for length, ref in entries)
    return Object(PAGE, tuple(ref for _, ref in entries if ref), struct.pack(f'<B3xI{len(entries)}I', 1, len(entries), *lengths))


def encode_list(child_kind, height, entries):
    lengths = (length | (1 << 63 if ref is None else 0) for length, ref in entries)
    head = struct.pack('<3BxI', 1, child_kind, height, len(entries))
    return Object(LIST, tuple(ref for _, ref in entries if ref), head + struct.pack(f'<{len(entries)}Q', *lengths))


def decode_entries(thing):
    """The entries of a page or a list, and the kind of its children."""
    _, child_kind, count = struct.unpack_from('<BB2xI', thing.payload)
    wide = thing.kind == LIST
    hole = 1 << (63 if wide else 31)
    refs = iter(thing.refs)
    lengths = struct.unpack_from(f'<{count}{"Q" if wide else "I"}', thing.payload, 8)
    entries = [(value & ~hole, None if value & hole else next(refs)) for value in lengths]
    return entries, child_kind if wide else DATA


def is_zero(content):
    return content == bytes(len(content))


def cut_page(page, size):
    """Pieces of a page: holes as docs/format.md, section 5, wants them for images; data is cut at multiples of `size`."""
    zero = [is_zero(page[at : at + BLOCK]) for at in range(0, len(page), BLOCK)]
    pieces, at = [], 0
    while at < len(zero):
        run = next((n for n in range(at, len(zero)) if not zero[n]), len(zero)) - at
        is_hole = run >= 4 or (run > 0 and at + run == len(zero))
        blocks = run if is_hole else 1
        while not is_hole and at + blocks < len(zero) and blocks < size // BLOCK and not all(zero[at + blocks : at + blocks + 4]):
            blocks += 1
        piece = page[at * BLOCK : (at + blocks) * BLOCK]
        pieces.append((len(piece), None if is_hole else piece))
        at += blocks
    return pieces
