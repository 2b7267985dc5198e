// Where the content of a file goes, by its size: part of the entry, pieces that the entry names, or a list above the pieces.

/** Bytes of a file, or of a link's target, that stay in its entry: below that an object of its own costs more than it holds. */
export const MAX_INLINE = 512;

/** Pieces that an entry names itself; more go below a list. */
export const MAX_PIECES = 64;

/** A longer hole does not fit the length of a piece, so it goes into a list. */
export const MAX_PIECE_LENGTH = 2 ** 31 - 1;
