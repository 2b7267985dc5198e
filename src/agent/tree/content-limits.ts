// How the content of a regular file is kept: the same for every way in, or equal files would not be equal entries.

/** A file up to this many bytes lies in its entry: an object would cost more than it holds. */
export const MAX_INLINE = 512;
/** Up to so many pieces are named by the entry itself; more are below a list. */
export const MAX_PIECES = 64;
