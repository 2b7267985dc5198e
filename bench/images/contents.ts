// What a guest writes: half of it packed or encrypted already (random), half like logs and database rows (compresses about 3:1).
import type { SeededRandom } from './seeded-random.ts';

const WORDS =
  'accept account backup block bridge cache client commit connection container error filter guest header index info insert journal kernel lease link memory message network node offset page query reader record replica request restore route row select session snapshot socket storage table thread update user value volume warning write'.split(
    ' ',
  );

/** `length` bytes of new guest data, random or row-like with equal chance. */
export function guestWrite(random: SeededRandom, length: number): Buffer {
  return random.fraction() < 0.5 ? random.bytes(length) : rows(random, length);
}

function rows(random: SeededRandom, length: number): Buffer {
  const out = Buffer.alloc(length, 0x20);
  let at = 0;
  let id = random.below(2 ** 31);
  while (at < length) {
    id += 1 + random.below(3);
    const words = Array.from({ length: 4 + random.below(5) }, () => WORDS[random.below(WORDS.length)]).join(' ');
    const key = random
      .below(2 ** 32)
      .toString(16)
      .padStart(8, '0');
    at += out.write(`${id}\t${key}\t${words}\t${random.below(1_000_000)}\n`, at, 'latin1');
  }
  return out;
}
