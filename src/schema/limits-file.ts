// limits.json: what an administrator allows in a datastore. docs/format.md, section 9.
import { type Static, Type } from 'typebox';

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const MAINTENANCE_MODES = ['none', 'read-only', 'offline'] as const;
export type MaintenanceMode = (typeof MAINTENANCE_MODES)[number];

/** Characters of the message that a maintenance mode shows. */
export const MAX_MAINTENANCE_MESSAGE = 1024;

export const Limits = Type.Object({
  format: Type.Literal(1),
  maintenance: Type.Object({
    mode: Type.Union([Type.Literal('none'), Type.Literal('read-only'), Type.Literal('offline')]),
    message: Type.String({ maxLength: MAX_MAINTENANCE_MESSAGE }),
  }),
  /** Backups leave so much of the file system free; null for the default. */
  lowSpaceBytes: Type.Union([Bytes, Type.Null()]),
  /** From how many times the usual a snapshot is an anomaly; 0 for never, null for the default. Earlier versions do not write it. */
  anomalyFactor: Type.Optional(Type.Union([Type.Number({ minimum: 0, maximum: 1_000_000 }), Type.Null()])),
  /** Most bytes on disk, by namespace (and all below it) and by owner. */
  quotas: Type.Object({
    namespaces: Type.Record(Type.String(), Bytes),
    owners: Type.Record(Type.String(), Bytes),
  }),
});
export type Limits = Static<typeof Limits>;
