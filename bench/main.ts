// npm run bench -- NAME...|all [--json FILE] [--runs N] [--scale X] [--strict]: answers questions, one table each.
// Exit code 0 also when a bar is missed, unless --strict; 1 when a question broke off; 2 for a wrong command line.
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { changemap } from './changemap.ts';
import { full } from './full.ts';
import { openImages, SEED } from './images.ts';
import { index10m } from './index-10m.ts';
import { jobs } from './jobs.ts';
import { keeping } from './keeping.ts';
import { known } from './known.ts';
import { machineFacts } from './machine.ts';
import { memory } from './memory.ts';
import { type Answer, BrokenOff, type Question } from './question.ts';
import { printAnswer } from './report.ts';
import { restore } from './restore.ts';
import { second } from './second.ts';
import { server } from './server.ts';
import { ALL_TOOLS, missingTools, toolVersions } from './tools.ts';
import { openTrees } from './trees/open-trees.ts';
import { trees } from './trees.ts';
import { vm } from './vm.ts';
import { vma } from './vma.ts';
import { Workspace } from './workspace.ts';

const QUESTIONS: readonly Question[] = [
  full,
  known,
  second,
  changemap,
  restore,
  index10m,
  memory,
  keeping,
  trees,
  server,
  vm,
  vma,
  jobs,
];
const CACHE = fileURLToPath(new URL('../../.cache/bench', import.meta.url));

interface Answered extends Answer {
  name: string;
  title: string;
  loadAverageAfter: number;
}

interface Options {
  questions: Question[];
  json: string | undefined;
  runs: number;
  scale: number;
  strict: boolean;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (typeof options === 'string') {
    console.error(
      `bench: ${options}\nusage: npm run bench -- NAME...|all [--json FILE] [--runs N] [--scale X] [--strict]`,
    );
    console.error(`names: ${QUESTIONS.map((question) => question.name).join(', ')}`);
    return 2;
  }
  const missing = missingTools(...ALL_TOOLS);
  if (missing !== undefined) console.error(`bench: some programs are ${missing}`);
  const machine = machineFacts();
  const peers = toolVersions();
  if (options.scale !== 1) console.log(`Images at ${options.scale} of their size: a trial of the bench, not a result.`);
  const answers: Answered[] = [];
  let broken = false;
  for (const question of options.questions) {
    let answer: Answer;
    try {
      answer = await ask(question, options);
    } catch (error) {
      broken = true;
      if (error instanceof BrokenOff) printAnswer(question, error.answer);
      console.error(`bench: ${question.name} broke off:`, error);
      continue;
    }
    printAnswer(question, answer);
    answers.push({ name: question.name, title: question.title, ...answer, loadAverageAfter: loadavg()[0] });
    const { scale, runs } = options;
    const result = { machine, peers, seed: SEED, scale, runs, questions: answers };
    // After every question, so that a run that is broken off keeps what it has.
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  const bars = answers.flatMap((answer) => answer.bars);
  const met = bars.filter((bar) => bar.met).length;
  console.log(`\n${met} of ${bars.length} bars met.`);
  return broken || (options.strict && met < bars.length) ? 1 : 0;
}

async function ask(question: Question, { scale, runs }: Options): Promise<Answer> {
  const workspace = new Workspace(join(CACHE, 'run'));
  try {
    return await question.answer({
      images: openImages({ cacheDirectory: CACHE, scale }),
      trees: openTrees(CACHE, scale),
      scale,
      workspace,
      runs,
    });
  } finally {
    workspace.close();
  }
}

/** The options, or what is wrong with the command line. */
function readOptions(): Options | string {
  const positive = (name: string, text: string): number => {
    const value = Number(text);
    if (!(value > 0)) throw new Error(`--${name} wants a number above 0, not ${text}`);
    return value;
  };
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        runs: { type: 'string', default: '3' },
        scale: { type: 'string', default: '1' },
        strict: { type: 'boolean', default: false },
      },
    });
    if (positionals.length === 0) return 'name a question';
    const unknown = positionals.filter(
      (name) => name !== 'all' && QUESTIONS.every((question) => question.name !== name),
    );
    if (unknown.length > 0) return `no question is called ${unknown.join(' or ')}`;
    return {
      questions: QUESTIONS.filter(({ name }) => positionals.includes('all') || positionals.includes(name)),
      json: values.json,
      runs: Math.ceil(positive('runs', values.runs)),
      scale: positive('scale', values.scale),
      strict: values.strict,
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
