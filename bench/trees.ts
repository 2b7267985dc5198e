// How fast are file trees: nothing changed, a system's files, one file of many, one byte in front, under a key?
import type { Answer, Context, Question } from './question.ts';
import { encryptionCost } from './trees/encryption.ts';
import { insertionCost } from './trees/insertion.ts';
import { manyFiles } from './trees/many-files.ts';
import { systemFiles } from './trees/system-files.ts';

const PARTS: readonly ((context: Context) => Promise<Answer>)[] = [
  manyFiles,
  systemFiles,
  insertionCost,
  encryptionCost,
];

export const trees: Question = {
  name: 'trees',
  title: 'File trees: a million files, a system, one byte in front, encryption (trees in the page cache)',
  answer: async (context) => {
    const answer: Answer = { rows: [], bars: [], facts: {} };
    for (const part of PARTS) {
      const { rows, bars, facts } = await part(context);
      answer.rows.push(...rows);
      answer.bars.push(...bars);
      Object.assign(answer.facts, facts);
    }
    return answer;
  },
};
