// The note of a snapshot.
import { HoldfastError } from '../util/errors.ts';

const MAX_NOTE_LENGTH = 65_536;

/** A longer note than the schema of the manifest takes would make a snapshot that nobody can read any more. @throws `too-large`. */
export function checkNote(notes: string): string {
  if (notes.length <= MAX_NOTE_LENGTH) return notes;
  throw new HoldfastError('too-large', `a note takes at most ${MAX_NOTE_LENGTH} characters, not ${notes.length}`);
}
