// What does it cost to keep a store, and to look into it?
import { accountingCost } from './keeping/accounting.ts';
import { gcCost } from './keeping/gc-cost.ts';
import { gcYield } from './keeping/gc-yield.ts';
import { nbdSpeed } from './keeping/nbd.ts';
import { verifyCost } from './keeping/verify.ts';
import { answerInParts, type Part, type Question } from './question.ts';

const PARTS: readonly Part[] = [gcCost, gcYield, verifyCost, nbdSpeed, accountingCost];

export const keeping: Question = {
  name: 'keeping',
  title: 'Keeping a store: garbage collection, verification, disks over NBD, accounting',
  answer: (context) => answerInParts(PARTS, context),
};
