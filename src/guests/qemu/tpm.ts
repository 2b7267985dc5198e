// The TPM of a guest: swtpm, beside QEMU in the same control group, with its state in the volume `tpmstate0`. It is started before QEMU, which is the only one
// to talk to it, and ends with QEMU's connection; who comes after a QEMU that never connected finds it by its pid file.
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { readIfPresent } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { run as runProgram } from '../../util/run.ts';
import { parseDrive } from '../config/drive.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { RunDirectory } from '../node-directory.ts';
import type { Storages } from '../storage/storages.ts';
import type { ControlGroup } from './control-group.ts';

export const TPM_KEY = 'tpmstate0';
/** What Proxmox makes; swtpm cuts the file to what it needs, some KiB. */
export const TPM_STATE_BYTES = 4 << 20;

/** Making keys under a loaded machine; measured 2 s. */
const SETUP_TIMEOUT_MS = 120_000;
const END_TIMEOUT_MS = 5_000;
const POLL_MS = 10;

export interface TpmPlan {
  readonly version: 'v1.2' | 'v2.0';
  /** Volume id or absolute path. */
  readonly volume: string;
  readonly path: string;
}

/** Undefined for a guest without TPM. @throws `bad-argument` for a state that is not raw, `not-found`. */
export async function planTpm({ values }: VmConfig, storages: Storages): Promise<TpmPlan | undefined> {
  const value = values.get(TPM_KEY);
  if (value === undefined) return undefined;
  const drive = parseDrive(TPM_KEY, value);
  const image = drive.file.startsWith('/')
    ? { path: drive.file, format: drive.format ?? 'raw' }
    : await storages.volume(drive.file);
  if (image.format !== 'raw')
    throw new HoldfastError(
      'bad-argument',
      `${TPM_KEY}: ${drive.file} is a ${image.format} image, and swtpm writes raw ones only; make it anew with format=raw`,
    );
  requirePlain(image.path);
  await stat(image.path).catch((cause: unknown) => {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    throw new HoldfastError('not-found', `${TPM_KEY}: volume '${drive.file}' does not exist (${image.path})`, {
      cause,
    });
  });
  return { version: drive.rest.version === 'v2.0' ? 'v2.0' : 'v1.2', volume: drive.file, path: image.path };
}

/**
 * Makes the keys of a new TPM; a state that is there stays. Certificates of the endorsement key are signed by an authority of this host, which only root has.
 * @throws `tool-missing`, `guest-failed` with its words, `timed-out`, `aborted`.
 */
export async function prepareTpm({ version, path }: TpmPlan, signal: AbortSignal | undefined): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const args = [
    ...(version === 'v2.0' ? ['--tpm2', '--ecc'] : []),
    ...['--tpmstate', `file://${path}`, '--createek', '--lock-nvram', '--not-overwrite'],
    ...(isRoot ? ['--create-ek-cert', '--create-platform-cert', '--runas', '0'] : []),
  ];
  await runProgram('swtpm_setup', args, { signal, timeoutMs: SETUP_TIMEOUT_MS, failure: 'guest-failed' });
}

/** What to put before QEMU's command so that the TPM listens when it starts. */
export function withTpm({ version, path }: TpmPlan, run: RunDirectory): string[] {
  requirePlain(run.tpmSocket);
  // A systemd scope takes one command, so the first starts the second. Nothing from outside is part of the script.
  const script = `swtpm socket ${version === 'v2.0' ? '--tpm2' : ''} --tpmstate "$1" --ctrl "$2" --pid "$3" --terminate --daemon || exit 125; shift 3; exec "$@"`;
  return [
    ...['/bin/sh', '-c', script, 'holdfast-tpm', `backend-uri=file://${path},mode=0600`],
    ...[`type=unixio,path=${run.tpmSocket},mode=0600`, `file=${run.tpmPidFile}`],
  ];
}

/** QEMU's side of it. */
export function tpmArguments({ version }: Pick<TpmPlan, 'version'>, run: RunDirectory): string[] {
  return [
    ...['-chardev', `socket,id=tpm,path=${run.tpmSocket}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
    ...['-device', JSON.stringify({ driver: version === 'v2.0' ? 'tpm-crb' : 'tpm-tis', tpmdev: 'tpm0' })],
  ];
}

/** The TPM's process, or undefined when none runs. A pid that was given to another program is not taken for it. */
export async function findTpm(run: RunDirectory): Promise<number | undefined> {
  const pid = Number((await readIfPresent(run.tpmPidFile))?.trim());
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const command = await readIfPresent(`/proc/${pid}/cmdline`).catch((error: unknown) => {
    if (systemCode(error) === 'ESRCH') return undefined;
    throw error;
  });
  return command?.includes(`path=${run.tpmSocket},`) ? pid : undefined;
}

/**
 * Call when QEMU has ended. Returns at once where there is none; its state is stored at every change. swtpm removes its pid file before it ends, so the
 * guest's group is what says that nothing is left. @throws `timed-out`.
 */
export async function endTpm(run: RunDirectory, group?: Pick<ControlGroup, 'pids' | 'kill'>): Promise<void> {
  await endProcess(run);
  if (group === undefined) return;
  const deadline = performance.now() + END_TIMEOUT_MS;
  while ((await group.pids()).length > 0) {
    if (performance.now() > deadline) return await group.kill();
    await sleep(POLL_MS);
  }
}

async function endProcess(run: RunDirectory): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const deadline = performance.now() + END_TIMEOUT_MS;
    for (let pid = await findTpm(run); ; pid = await findTpm(run)) {
      if (pid === undefined) return;
      if (performance.now() > deadline) break;
      end(pid, signal);
      await sleep(POLL_MS);
    }
  }
  throw new HoldfastError('timed-out', `swtpm of ${run.path} does not end although it was killed`);
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

/** swtpm's options know no way to write a comma. */
function requirePlain(path: string): void {
  if (path.includes(','))
    throw new HoldfastError('bad-argument', `${path}: swtpm takes no path with a comma; rename its directory`);
}
