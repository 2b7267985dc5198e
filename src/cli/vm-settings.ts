// Settings of a virtual machine on the command line: every key of the configuration is an option, `--scsi0 local:32 --memory 2048`.
import { readFile } from 'node:fs/promises';
import { printSshKeys } from '../guests/config/cloud-init-options.ts';
import { findKey } from '../guests/config/vm-keys.ts';
import { HoldfastError, systemCode } from '../util/errors.ts';

const MAX_LINE_BYTES = 4096;

/** `words` is what stands on the command line beside the options that the command itself has. @throws `bad-argument`. */
export async function settingsOf(words: readonly string[]): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (let place = 0; place < words.length; ) {
    const [, key, given] = /^--([A-Za-z][A-Za-z0-9-]*)(?:=(.*))?$/s.exec(words[place] as string) ?? [];
    if (key === undefined || !(key === 'cdrom' || findKey(key) !== undefined))
      throw new HoldfastError(
        'bad-argument',
        `'${words[place]}' is no option and no key of a virtual machine's configuration`,
      );
    const value = given ?? words[place + 1];
    if (value === undefined) throw new HoldfastError('bad-argument', `--${key} needs a value`, { data: { key } });
    if (settings[key] !== undefined)
      throw new HoldfastError('bad-argument', `--${key} is given twice`, { data: { key } });
    settings[key] = await read(key, value);
    place += given === undefined ? 2 : 1;
  }
  return settings;
}

/** Keys that come from a file, as with Proxmox, and passwords that do not stand in a list of processes. */
async function read(key: string, value: string): Promise<string> {
  if (key === 'cipassword' && value === '-') return await firstLineOfInput();
  if (key !== 'sshkeys' || !/^[./~]/.test(value)) return value;
  try {
    const lines = (await readFile(value, 'utf8')).split(/\r?\n/).map((line) => line.trim());
    return printSshKeys(lines.filter((line) => line !== '' && !line.startsWith('#')));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw new HoldfastError('not-found', `--sshkeys: ${value} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function firstLineOfInput(): Promise<string> {
  let text = '';
  for await (const part of process.stdin) {
    text += String(part);
    if (text.includes('\n') || text.length > MAX_LINE_BYTES) break;
  }
  return (text.split('\n')[0] ?? '').replace(/\r$/, '');
}
