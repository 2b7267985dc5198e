// What does it cost to keep a store, and to look into it?
import { accountingCost } from './keeping/accounting.ts';
import { gcCost } from './keeping/gc-cost.ts';
import { gcYield } from './keeping/gc-yield.ts';
import { nbdSpeed } from './keeping/nbd.ts';
import { verifyCost } from './keeping/verify.ts';
import type { Answer, Context, Question } from './question.ts';

const PARTS: readonly ((context: Context) => Promise<Answer>)[] = [
  gcCost,
  gcYield,
  verifyCost,
  nbdSpeed,
  accountingCost,
];

export const keeping: Question = {
  name: 'keeping',
  title: 'Keeping a store: garbage collection, verification, disks over NBD, accounting',
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
