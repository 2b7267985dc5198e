// What a QEMU says of itself is asked once for each boot of the host and each QEMU: the answer is kept in the node's run directory, which a boot empties.
import { randomUUID } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Type } from 'typebox';
import { readIfPresent } from '../../util/atomic-file.ts';
import { parseIfSound } from '../../util/json-file.ts';
import type { QemuProgram } from './qemu-program.ts';

const Kept = Type.Object({ of: Type.String(), answer: Type.String() });

/** `question` names the file; `ask` is called when no answer of this QEMU is kept. @throws what `ask` throws. */
export async function rememberedAnswer(
  runPath: string,
  question: string,
  qemu: QemuProgram,
  ask: () => Promise<string>,
): Promise<string> {
  const path = join(runPath, `${question}.json`);
  const of = await identityOf(qemu);
  const kept = await keptAnswer(path);
  if (kept?.of === of) return kept.answer;
  const answer = await ask();
  await mkdir(runPath, { recursive: true, mode: 0o700 });
  // Two that ask at once write the same.
  const temporary = `${path}.${randomUUID()}`;
  await writeFile(temporary, JSON.stringify({ of, answer }));
  await rename(temporary, path);
  return answer;
}

/** Program, the time of its change, and what it is called with; of one that is not found what is asked fails, and nothing is kept. */
async function identityOf({ program, args, environment }: QemuProgram): Promise<string> {
  const places = program.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const place of places) {
    const path = join(place, program);
    const mtimeMs = (await stat(path).catch(() => undefined))?.mtimeMs;
    if (mtimeMs !== undefined) return JSON.stringify([path, mtimeMs, args, environment]);
  }
  return program;
}

/** What cannot be read is asked again. */
async function keptAnswer(path: string): Promise<{ readonly of: string; readonly answer: string } | undefined> {
  const text = await readIfPresent(path);
  return text === undefined ? undefined : parseIfSound(text, Kept);
}
