// Starts a command beside others, without GNU time around it: for what runs at once, or through a proxy of this process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Command, plainEnvironment } from '../measure.ts';

/** Its errors go to ours. */
export function runCommand(command: Command): ChildProcess {
  const [program, ...args] = command.argv;
  const env = { ...plainEnvironment(), ...command.env };
  return spawn(program, args, { cwd: command.cwd, env, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** @throws when it does not end well. */
export async function runToEnd(command: Command): Promise<void> {
  const [code] = (await once(runCommand(command), 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command.argv.slice(2).join(' ')} ended with ${code ?? 'a signal'}`);
}
