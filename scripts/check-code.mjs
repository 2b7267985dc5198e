// Types, formatting and lint at once, for each is one thread: tsc, biome, eslint. Ends with 1 when one of them found something.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const CHECKS = [
  ['tsc', '--incremental', '--tsBuildInfoFile', 'node_modules/.cache/tsc.tsbuildinfo'],
  ['biome', 'ci'],
  ['eslint', 'src', 'test', 'bench', 'scripts'],
];

const statuses = await Promise.all(
  CHECKS.map(async ([program, ...args]) => {
    const child = spawn(`${root}node_modules/.bin/${program}`, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    const [status] = await once(child, 'close');
    if (status !== 0) console.error(`check: ${program} failed`);
    return status;
  }),
);
process.exit(statuses.every((status) => status === 0) ? 0 : 1);
