// A question of the bench: what it is given, what it answers.
import type { Row } from './contender.ts';
import type { Images } from './images.ts';
import type { Trees } from './trees/open-trees.ts';
import type { Workspace } from './workspace.ts';

export interface Context {
  images: Images;
  trees: Trees;
  /** 1 for a result; less only to try the bench. */
  scale: number;
  /** Scratch space, empty at the start of the question and removed after it. */
  workspace: Workspace;
  /** Runs per contender. */
  runs: number;
}

export interface Bar {
  what: string;
  /** null when it could not be measured; then it is not met. */
  figure: number | null;
  sense: 'at least' | 'at most';
  limit: number;
  unit: string;
  met: boolean;
}

export interface Answer {
  rows: Row[];
  bars: Bar[];
  /** What a reader must know about the input: image facts. */
  facts: Record<string, string | number>;
}

export interface Question {
  name: string;
  title: string;
  answer(context: Context): Promise<Answer>;
}

/** A part of a question; all parts' rows, bars and facts make its answer. */
export type Part = Question['answer'];

/** @throws `BrokenOff` at the first part that fails. */
export async function answerInParts(parts: readonly Part[], context: Context): Promise<Answer> {
  const answer: Answer = { rows: [], bars: [], facts: {} };
  for (const part of parts) {
    const { rows, bars, facts } = await part(context).catch((cause: unknown) => {
      throw new BrokenOff(answer, cause);
    });
    answer.rows.push(...rows);
    answer.bars.push(...bars);
    Object.assign(answer.facts, facts);
  }
  return answer;
}

/** A part failed; what those before it found is in `answer`. */
export class BrokenOff extends Error {
  readonly answer: Answer;

  constructor(answer: Answer, cause: unknown) {
    super('a part of it failed', { cause });
    this.answer = answer;
  }
}

export function atLeast(what: string, figure: number | null, limit: number, unit = 'x'): Bar {
  return { what, figure, sense: 'at least', limit, unit, met: figure !== null && figure >= limit };
}

export function atMost(what: string, figure: number | null, limit: number, unit = 'x'): Bar {
  return { what, figure, sense: 'at most', limit, unit, met: figure !== null && figure <= limit };
}
