// What a server costs: against the same work on a directory, with many clients, many snapshots, and over a slow line.
import { answerInParts, type Part, type Question } from './question.ts';
import { manyClients } from './server/many-clients.ts';
import { manySnapshots } from './server/many-snapshots.ts';
import { slowLine } from './server/slow-line.ts';
import { wireSpeed } from './server/wire.ts';

const PARTS: readonly Part[] = [wireSpeed, manyClients, manySnapshots, slowLine];

export const server: Question = {
  name: 'server',
  title: 'A server: client and server on 127.0.0.1 over TLS, against a directory',
  answer: (context) => answerInParts(PARTS, context),
};
