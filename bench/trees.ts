// How fast are file trees: nothing changed, a system's files, one file of many, one byte in front, under a key?
import { answerInParts, type Part, type Question } from './question.ts';
import { encryptionCost } from './trees/encryption.ts';
import { insertionCost } from './trees/insertion.ts';
import { manyFiles } from './trees/many-files.ts';
import { systemFiles } from './trees/system-files.ts';

const PARTS: readonly Part[] = [manyFiles, systemFiles, insertionCost, encryptionCost];

export const trees: Question = {
  name: 'trees',
  title: 'File trees: a million files, a system, one byte in front, encryption (trees in the page cache)',
  answer: (context) => answerInParts(PARTS, context),
};
