// What stays under a minute: types, lint and formatting beside the fast tests, for the first is one thread. Ends with 1 when something fails.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

async function step(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const [status] = await once(spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'inherit', 'inherit'] }), 'close');
  return { script, status };
}

const steps = await Promise.all([step('check-code.mjs'), step('run-tests.mjs', '--fast')]);
const failed = steps.filter(({ status }) => status !== 0);
for (const { script } of failed) console.error(`check: ${script} failed`);
process.exit(failed.length === 0 ? 0 : 1);
