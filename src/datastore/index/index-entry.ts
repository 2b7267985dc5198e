// The 48 bytes of one index entry, in memory and in the snapshot on disk. docs/format.md, section 8.

export const ENTRY_BYTES = 48;
export const ENTRY_WORDS = ENTRY_BYTES / 4;

/** Word numbers within an entry; words 0 to 7 are the id. */
export const Word = { space: 8, pack: 9, offset: 10, lengthAndFlags: 11 } as const;

export const LENGTH_MASK = (1 << 25) - 1;
/** The object is a data object: it has no refs and lives in a data pack. */
export const FLAG_DATA = 1 << 25;
/** In memory only: this copy failed two reads. */
export const FLAG_QUARANTINED = 1 << 26;
