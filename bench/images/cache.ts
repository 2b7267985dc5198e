// Keeps generated files with the facts about them. A file counts as made only when its facts stand beside it, written last.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** Returns the facts stored for `name`, or builds the file and stores them. `build` writes to the path that it is given. */
export function cached<Facts>(
  directory: string,
  name: string,
  build: (path: string) => Facts,
): Facts & { path: string } {
  const path = join(directory, name);
  const factsPath = `${path}.json`;
  if (existsSync(factsPath) && existsSync(path))
    return { ...(JSON.parse(readFileSync(factsPath, 'utf8')) as Facts), path };
  mkdirSync(directory, { recursive: true });
  rmSync(factsPath, { force: true });
  console.error(`bench: making ${name}`);
  const facts = build(`${path}.part`);
  renameSync(`${path}.part`, path);
  writeFileSync(factsPath, JSON.stringify(facts));
  return { ...facts, path };
}

/** Copies a file and keeps zeros as holes; `sizeBytes` beyond the source's end become a hole too. */
export function copySparse(source: string, target: string, sizeBytes?: number): void {
  const result = spawnSync('cp', ['--sparse=always', source, target], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`cp of ${source} failed: ${result.stderr}`);
  if (sizeBytes !== undefined) truncateSync(target, sizeBytes);
}

/** Throws unless the file system of `directory` has room for the images and one question's repositories. */
export function requireRoom(directory: string, neededBytes: number): void {
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= neededBytes) return;
  const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);
  throw new Error(
    `the bench needs ${gib(neededBytes)} GiB free in ${directory}, there are ${gib(bavail * bsize)}. Free some, or pass --scale 0.125`,
  );
}
