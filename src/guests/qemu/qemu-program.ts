// The QEMU of a node: Debian's on the search path, or another one that the node's configuration names. What it can do is asked of itself.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { systemCode } from '../../util/errors.ts';
import { parseStateFile } from '../../util/json-file.ts';
import { run } from '../../util/run.ts';

const QUESTION_TIMEOUT_MS = 20_000;

/** `node.json` of a node's directory; every member may be missing. */
export const NodeSettings = Type.Object(
  {
    /** Path or name of the program. */
    qemu: Type.Optional(Type.String({ minLength: 1 })),
    /** Given before ours, for example `-L` and where its firmware is. */
    qemuArguments: Type.Optional(Type.Array(Type.String())),
    qemuStorageDaemon: Type.Optional(Type.String({ minLength: 1 })),
    /** Of both programs. */
    environment: Type.Optional(Type.Record(Type.String(), Type.String())),
  },
  { additionalProperties: false },
);
export type NodeSettings = Static<typeof NodeSettings>;

export interface QemuProgram {
  readonly program: string;
  readonly args: readonly string[];
  readonly storageDaemon: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** @throws `datastore-damaged` for a `node.json` that is not as above. */
export async function readQemuProgram(nodeDirectory: string): Promise<QemuProgram> {
  const path = join(nodeDirectory, 'node.json');
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return '{}';
    throw error;
  });
  const settings = parseStateFile(path, text, NodeSettings);
  return {
    program: settings.qemu ?? 'qemu-system-x86_64',
    args: settings.qemuArguments ?? [],
    storageDaemon: settings.qemuStorageDaemon ?? 'qemu-storage-daemon',
    environment: settings.environment ?? {},
  };
}

/** `7.2.22`. @throws `tool-missing`, `guest-failed`. */
export async function qemuVersion({ program, environment }: QemuProgram): Promise<string> {
  const { stdout } = await run(program, ['--version'], {
    timeoutMs: QUESTION_TIMEOUT_MS,
    failure: 'guest-failed',
    environment,
  });
  return /version (\d+(?:\.\d+)+)/.exec(stdout)?.[1] ?? 'unknown';
}
