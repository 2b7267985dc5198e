// What a backup job is kept and shown with though it means nothing here: the one place where its names and shapes stand.
import { type Static, type TObject, Type } from 'typebox';
import { KEEP_RULES } from '../../../../datastore/prune/keep-rules.ts';
import { Node } from '../parameters.ts';

const SHOWN = 'Kept and shown; it changes nothing here.';
const ShownFlag = Type.Optional(Type.Boolean({ description: SHOWN }));
const ShownNumber = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description: SHOWN }));

/** What clients send, and read again to see whether it is there, though it means nothing for backups of virtual machines to a datastore. */
export const WITHOUT_EFFECT = {
  compress: Type.Optional(Type.Enum(['0', '1', 'gzip', 'lzo', 'zstd'], { description: SHOWN })),
  pigz: ShownNumber,
  zstd: ShownNumber,
  stopwait: ShownNumber,
  quiet: ShownFlag,
  stdexcludes: ShownFlag,
  remove: Type.Optional(
    Type.Boolean({ description: 'Kept and shown: prune-backups says what goes. Not 0 together with it.' }),
  ),
  performance: Type.Optional(Type.String({ maxLength: 256, description: SHOWN })),
  'pbs-change-detection-mode': Type.Optional(Type.Enum(['legacy', 'data', 'metadata'], { description: SHOWN })),
  'notification-mode': Type.Optional(
    Type.Enum(['auto', 'legacy-sendmail', 'notification-system'], {
      description: 'Kept and shown: notifications go where the server sends them. legacy-sendmail is refused.',
    }),
  ),
  'repeat-missed': Type.Optional(
    Type.Boolean({ description: 'Kept and shown: a night that was missed is always made up for.' }),
  ),
  node: Type.Optional(Node),
};

const IDLE_RULE = `(keep-all=[01]|(${KEEP_RULES.join('|')})=0)`;

/** As a job keeps it. Nothing else may stand there: a name that does mean something would be taken for what the job does. */
export const WithoutEffect = Type.Object(
  {
    ...WITHOUT_EFFECT,
    /** For each disk's own storage, or switched off. */
    fleecing: Type.Optional(Type.String({ pattern: '^enabled=(1|0(,storage=[A-Za-z0-9._-]+)?)$', maxLength: 256 })),
    /** Rules that keep nothing, or all. */
    'prune-backups': Type.Optional(Type.String({ pattern: `^${IDLE_RULE}(,${IDLE_RULE})*$`, maxLength: 1024 })),
  },
  { additionalProperties: false },
);
export type WithoutEffect = Static<TObject<(typeof WithoutEffect)['properties']>>;
