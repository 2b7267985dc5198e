// Runs test files under node:test with the TypeScript loader. Usage: node scripts/run-tests.mjs [--fast] [path-part ...]
// --fast leaves out the folders that start programs, mounts or kill loops by the dozen; path parts choose files by name.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const SLOW = ['test/crash/', 'test/e2e/', 'test/cli/', 'test/bench/', 'test/support/', 'test/agent/nbd/', 'test/agent/sources/'];
const fast = process.argv.includes('--fast');
const parts = process.argv.slice(2).filter((argument) => argument !== '--fast');
const files = readdirSync('test', { recursive: true })
  .map((name) => `test/${name}`)
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) => !fast || !SLOW.some((folder) => name.startsWith(folder)))
  .filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)))
  .sort();
if (files.length === 0) {
  console.error(`run-tests: no test file matches ${parts.join(' ')}`);
  process.exit(1);
}
const result = spawnSync(
  process.execPath,
  ['--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files],
  { stdio: ['ignore', 'inherit', 'inherit'] },
);
process.exit(result.status ?? 1);
