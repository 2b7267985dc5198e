// Puts together what a snapshot of the server's state holds, as files that only the server's user can read.
import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveSpec } from '../../agent/backup/run-backup.ts';
import { TICKET_SECRETS } from '../../auth/first-start.ts';
import { archiveKind } from '../../schema/names.ts';
import { copyState } from '../../state/copy-state.ts';
import type { StateDatabase } from '../../state/state-database.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import type { ServerCertificate } from '../certificate.ts';
import { STATE_ARCHIVES, type StateAbout } from './state-snapshot.ts';

/** The type of the task that backs up the state. */
export const STATE_BACKUP_TASK = 'state-backup';

export interface StateParts {
  readonly state: StateDatabase;
  readonly certificate: Pick<ServerCertificate, 'cert' | 'key'>;
  readonly about: StateAbout;
}

export interface GatheredState {
  readonly archives: readonly ArchiveSpec[];
  /** Of all that counts: the same as long as nothing changed. */
  readonly digest: string;
}

/**
 * Writes the files into `directory`, which is made anew. Keys that sign tickets stay out: whoever reads the snapshot could sign in as anybody
 * with them, and a restored server makes new ones.
 * @throws as `copyState`, and what the file system says.
 */
export async function gatherState(directory: string, parts: StateParts, signal: AbortSignal): Promise<GatheredState> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  const { about, certificate, state } = parts;
  const database = await copyState(state, join(directory, STATE_ARCHIVES.database), {
    withoutSecrets: TICKET_SECRETS,
    quietTasks: STATE_BACKUP_TASK,
    signal,
  });
  const config = about.configFile === null ? undefined : await readIfPresent(about.configFile);
  const texts: [name: string, text: string][] = [
    [STATE_ARCHIVES.certificate, certificate.cert],
    [STATE_ARCHIVES.key, certificate.key],
    ...(config === undefined ? [] : [[STATE_ARCHIVES.config, config] as [string, string]]),
  ];
  const hash = createHash('sha256').update(database);
  for (const [name, text] of texts) hash.update(JSON.stringify([name, text]));
  texts.push([STATE_ARCHIVES.about, `${JSON.stringify(about, undefined, 1)}\n`]);
  for (const [name, text] of texts) await writeFile(join(directory, name), text, { mode: 0o600 });
  const names = [STATE_ARCHIVES.database, ...texts.map(([name]) => name)];
  return {
    archives: names.map((name) => ({ name, kind: archiveKind(name), path: join(directory, name) })),
    digest: hash.digest('hex'),
  };
}
