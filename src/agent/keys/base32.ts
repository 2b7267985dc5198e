// Crockford's base32, for what people type: no I, L, O or U among its characters, and what looks like 0 or 1 is read as such.
// https://www.crockford.com/base32.html. Bits of a last, partial character are zero.

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LOOKALIKES: Readonly<Record<string, string>> = { O: '0', I: '1', L: '1' };

export function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + ALPHABET[(value << (5 - bits)) & 31];
}

/** In any case; undefined for text that `encodeBase32` makes of no bytes. */
export function decodeBase32(text: string): Buffer | undefined {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const letter of text.toUpperCase()) {
    const digit = ALPHABET.indexOf(LOOKALIKES[letter] ?? letter);
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push(value >>> bits);
    }
    value &= (1 << bits) - 1;
  }
  // A character of which no bit is needed, or bits that are not zero, were never written.
  return bits >= 5 || value !== 0 ? undefined : Buffer.from(bytes);
}
