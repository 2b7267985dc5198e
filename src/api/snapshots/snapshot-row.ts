// What lists show of one snapshot, made of its manifest. Its owner is the group's and stands there.
import type { Manifest } from '../../schema/manifest.ts';

export interface FileRow {
  readonly filename: string;
  readonly size?: number;
  readonly 'crypt-mode'?: 'none' | 'encrypt';
}

export interface SnapshotRow {
  readonly files: readonly FileRow[];
  /** Missing when the manifest cannot be read. */
  readonly size?: number;
  readonly protected: boolean;
  readonly comment?: string;
  /** Of the encryption key, as hexadecimal pairs between colons. */
  readonly fingerprint?: string;
  readonly notes: string;
  /** How long making it took; missing when the manifest cannot be read. */
  readonly durationSeconds?: number;
  /** Of the session that made it: verification keeps its verdicts by it. */
  readonly session: string;
}

/** The manifest stands among the files under the name by which clients know that a backup is complete. */
export const MANIFEST_NAME = 'index.json.blob';
/** So does the log that the client sent after its backup. */
export const CLIENT_LOG_NAME = 'client.log.blob';

/** `logBytes` is undefined where there is no log. */
export function rowOf({ client, server }: Manifest, manifestBytes: number, logBytes: number | undefined): SnapshotRow {
  const cryptMode = client.key === null ? 'none' : 'encrypt';
  const files = client.archives.map(
    ({ name, sizeBytes }) => ({ filename: name, size: sizeBytes, 'crypt-mode': cryptMode }) as const,
  );
  const [comment = ''] = server.notes.split('\n', 1);
  return {
    files: [
      ...files,
      { filename: MANIFEST_NAME, size: manifestBytes, 'crypt-mode': 'none' },
      ...(logBytes === undefined ? [] : [{ filename: CLIENT_LOG_NAME, size: logBytes }]),
    ],
    size: manifestBytes + (logBytes ?? 0) + client.archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    protected: server.protected,
    ...(comment === '' ? {} : { comment }),
    ...(client.key === null ? {} : { fingerprint: (client.key.match(/../g) ?? []).join(':') }),
    notes: server.notes,
    durationSeconds: client.statistics.durationMs / 1000,
    session: server.session,
  };
}

/** Of a manifest that was damaged or edited: like a backup that never finished. */
export function unreadableRow(): SnapshotRow {
  return { files: [], protected: false, notes: '', session: '' };
}

/** What keeping it costs, in rows and files. */
export function rowCost({ files, notes }: SnapshotRow): number {
  return 1 + files.length + Math.ceil(notes.length / 256);
}
