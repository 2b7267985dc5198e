// Runs commands of the built CLI one after the other in one process, as its parent asks: each call evaluates the program's entry anew,
// with an argument list, an environment, an output and an exit code of its own.
import { createRequire } from 'node:module';

const entry = process.argv[2];
const require = createRequire(entry);
const firstSignals = process.listeners('SIGINT').length;

async function run({ args, env }) {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    process[name].write = (chunk, encoding, done) => {
      texts[name] += Buffer.from(chunk).toString();
      process.nextTick(typeof encoding === 'function' ? encoding : (done ?? (() => {})));
      return true;
    };
  }
  process.env = env;
  process.argv = [process.execPath, process.argv[1], ...args];
  process.exitCode = undefined;
  delete require.cache[entry];
  await require(entry).done;
  for (const name of ['stdout', 'stderr']) process[name].removeAllListeners('error');
  if (process.listeners('SIGINT').length !== firstSignals) throw new Error(`${args.join(' ')} left a signal handler behind`);
  return { status: process.exitCode ?? 0, signal: null, ...texts };
}

process.on('message', async (request) => process.send(await run(request)));
process.on('disconnect', () => process.exit());
