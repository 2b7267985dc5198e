// Ten million objects of 64 bytes in at least 2,000 packs: what does the index cost in memory, and how long does opening take?
import { type Answer, atLeast, atMost, type Context, type Question } from './question.ts';

export interface IndexFigures {
  bytesPerObject: number;
  openCleanS: number;
  openAfterCrashS: number;
  lookupsPerS: number;
  openWithoutLoadingS: number;
}

/** Builds the store in the workspace with the datastore's own writers and measures it. null: not measured. */
export async function measureIndex(_context: Context): Promise<IndexFigures | null> {
  return null;
}

export const index10m: Question = {
  name: 'index-10m',
  title: '10 M objects (synthetic 64-byte payloads, at least 2,000 packs)',
  answer,
};

async function answer(context: Context): Promise<Answer> {
  const figures = await measureIndex(context);
  const of = (name: keyof IndexFigures): number | null => figures?.[name] ?? null;
  return {
    rows: [],
    bars: [
      atMost('index per object', of('bytesPerObject'), 60, ' B'),
      atMost('open after a clean end', of('openCleanS'), 10, ' s'),
      atMost('open after a crash', of('openAfterCrashS'), 60, ' s'),
      atLeast('lookups', of('lookupsPerS'), 4_000_000, '/s'),
      atMost('a single-file command opens without loading it', of('openWithoutLoadingS'), 0.5, ' s'),
    ],
    facts: {},
  };
}
