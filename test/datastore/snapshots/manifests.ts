// Manifests for tests.
import type { ClientPart, ServerPart } from '../../../src/schema/manifest.ts';

export const clientPart = (): ClientPart => ({
  backup: 'vm/101',
  clientTime: '2026-11-20T02:00:00Z',
  archives: [{ name: 'a.conf', kind: 'blob', sizeBytes: 3, root: 'ab'.repeat(32) }],
  base: null,
  key: null,
  statistics: {
    bytesLogical: 3,
    bytesRead: 3,
    bytesSampled: 0,
    bytesNew: 3,
    objectsNew: 1,
    objectsReused: 0,
    durationMs: 1,
  },
});

export const serverPart = (sequence = 1, time = 1_790_000_000): ServerPart => ({
  sequence,
  time,
  suspectClock: false,
  session: '12'.repeat(16),
  space: 0,
  owner: 'root',
  origin: { store: '34'.repeat(16), sequence },
  protected: false,
  notes: 'ünïcode “notes”\u2028',
  damaged: false,
});
