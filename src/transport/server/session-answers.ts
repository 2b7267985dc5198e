// What clients are told of sessions (docs/protocol.md, section 1).
import type { DamagedRange } from '../../datastore/damage.ts';
import type { BaseSnapshot } from '../../datastore/sessions/backup-session.ts';
import type { Manifest } from '../../schema/manifest.ts';
import { LIMITS } from './bulk-limits.ts';

export interface OpenedSession {
  readonly session: string;
  /** A secret: never to be logged. */
  readonly token: string;
  readonly 'bulk-port': number;
  readonly 'server-start': string;
  readonly 'store-id': string;
  readonly space: number;
  readonly limits: Readonly<Record<'have-ids' | 'get-ids' | 'put-bytes' | 'record-bytes' | 'idle-seconds', number>>;
  readonly 'average-bytes'?: number;
  readonly bases?: readonly BaseAnswer[];
  readonly 'adopted-objects'?: number;
  readonly 'scope-is-empty'?: boolean;
  readonly manifests?: readonly Manifest[];
}

export interface BaseAnswer {
  readonly name: string;
  readonly sequence: number;
  readonly manifest: Manifest;
  readonly damaged: readonly DamagedRange[];
}

export interface SessionDescription {
  readonly session: string;
  readonly 'server-start': string;
  readonly counters: Readonly<Record<'objects-new' | 'objects-reused' | 'bytes-new', number>>;
}

export interface CommittedSession {
  readonly manifest: Manifest;
  readonly warnings: readonly string[];
}

/** The limits as clients are told them. */
export function limitsAnswer(idleSeconds: number): OpenedSession['limits'] {
  return {
    'have-ids': LIMITS.haveIds,
    'get-ids': LIMITS.getIds,
    'put-bytes': LIMITS.putBytes,
    'record-bytes': LIMITS.recordBytes,
    'idle-seconds': idleSeconds,
  };
}

export function baseAnswer({ name, sequence, manifest, damaged }: BaseSnapshot): BaseAnswer {
  return { name, sequence, manifest, damaged };
}
