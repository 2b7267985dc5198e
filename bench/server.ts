// What a server costs: against the same work on a directory, with many clients, many snapshots, and over a slow line.
import type { Answer, Context, Question } from './question.ts';
import { manyClients } from './server/many-clients.ts';
import { manySnapshots } from './server/many-snapshots.ts';
import { slowLine } from './server/slow-line.ts';
import { wireSpeed } from './server/wire.ts';

const PARTS: readonly ((context: Context) => Promise<Answer>)[] = [wireSpeed, manyClients, manySnapshots, slowLine];

export const server: Question = {
  name: 'server',
  title: 'A server: client and server on 127.0.0.1 over TLS, against a directory',
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
