// The program on a terminal, which `script` plays: what it asks is answered, what it shows is kept.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { type Place, PROGRAM } from './holdfast.ts';

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** An answer may follow from what is on the screen so far. */
export type Answer = string | ((screen: string) => string);

/** Runs a command on a terminal and types each answer once its question is there. */
export async function onTerminal(
  place: Place,
  args: readonly string[],
  answers: readonly (readonly [question: string, answer: Answer])[],
  more: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; screen: string }> {
  const command = `${[process.execPath, PROGRAM, ...args].map(quote).join(' ')} < /dev/null`;
  const env = {
    ...process.env,
    HOLDFAST_REPOSITORY: place.repository,
    HOLDFAST_STATE_DIR: place.path('state'),
    HOLDFAST_KEY_PASSPHRASE: '',
    ...more,
  };
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let screen = '';
  let seen = 0;
  const left = [...answers];
  child.stdout.on('data', (data: Buffer) => {
    screen += data;
    const [question, answer] = left[0] ?? [];
    if (question === undefined || answer === undefined || !screen.slice(seen).includes(question)) return;
    seen = screen.length;
    left.shift();
    child.stdin.write(typeof answer === 'string' ? answer : answer(screen));
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  assert.deepEqual(left, [], screen);
  return { code, screen };
}
