// Where everything of a datastore lies on disk. docs/format.md, section 1.
import { join } from 'node:path';

export class Layout {
  readonly root: string;
  readonly config: string;
  readonly lockDb: string;
  readonly readersDb: string;
  readonly holder: string;
  readonly spaces: string;
  readonly clock: string;
  readonly quarantine: string;
  readonly verifyState: string;
  readonly packs: string;
  readonly condemned: string;
  readonly index: string;
  readonly indexSnapshot: string;
  readonly sessions: string;
  readonly snapshots: string;
  readonly limits: string;
  readonly accounting: string;

  constructor(root: string) {
    this.root = root;
    this.config = join(root, 'datastore.json');
    this.lockDb = join(root, 'lock.db');
    this.readersDb = join(root, 'readers.db');
    this.holder = join(root, 'holder.json');
    this.spaces = join(root, 'spaces');
    this.clock = join(root, 'clock.json');
    this.quarantine = join(root, 'quarantine.json');
    this.verifyState = join(root, 'verify.json');
    this.packs = join(root, 'packs');
    this.condemned = join(root, 'condemned');
    this.index = join(root, 'index');
    this.indexSnapshot = join(root, 'index', 'snapshot');
    this.sessions = join(root, 'sessions');
    this.snapshots = join(root, 'snapshots');
    this.limits = join(root, 'limits.json');
    this.accounting = join(root, 'accounting.json');
  }

  openPack(packId: Buffer): string {
    return join(this.packs, `${packId.toString('hex')}.open`);
  }

  sealedPack(packId: Buffer): string {
    return join(this.packs, `${packId.toString('hex')}.pack`);
  }

  condemnedPack(packId: Buffer): string {
    return join(this.condemned, `${packId.toString('hex')}.pack`);
  }

  session(sessionId: string): string {
    return join(this.sessions, `${sessionId}.json`);
  }
}
