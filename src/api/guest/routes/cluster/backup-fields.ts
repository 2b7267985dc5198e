// A backup job in Proxmox VE's fields, and as the options that our job of kind vzdump is kept with.
import { type Static, type TObject, Type } from 'typebox';
import { KEEP_RULES } from '../../../../datastore/prune/keep-rules.ts';
import type { JobOptions } from '../../../../jobs/schedule/job.ts';
import { LOCAL_NODE } from '../../../../schema/names.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { BACKUP_MODES, DUMP_FIELDS, fleecingStorage, guestIds, keepsAll, vmidList } from '../nodes/dump-parameters.ts';
import { given, listOf, Node, StorageName } from '../parameters.ts';

const SHOWN = 'Kept and shown; it changes nothing here.';
const REFUSED = 'Refused: not here.';
const Refused = (maxLength: number) => Type.Optional(Type.String({ maxLength, description: REFUSED }));
const ShownFlag = Type.Optional(Type.Boolean({ description: SHOWN }));
const ShownNumber = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description: SHOWN }));

/** What clients send, and read again to see whether it is there, though it means nothing for backups of virtual machines to a datastore. */
const WITHOUT_EFFECT = {
  compress: Type.Optional(Type.Enum(['0', '1', 'gzip', 'lzo', 'zstd'], { description: SHOWN })),
  pigz: ShownNumber,
  zstd: ShownNumber,
  stopwait: ShownNumber,
  quiet: ShownFlag,
  stdexcludes: ShownFlag,
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

/** Each with why, and what to do. */
const NOT_HERE: Readonly<Record<string, string>> = {
  tmpdir: 'there are no directories for backups: leave it out',
  mailto: 'mail goes where the notifications of the server go: set a target with holdfast notify, and leave it out',
  mailnotification: 'which notifications go where is set with holdfast notify: leave it out',
  maxfiles: 'take prune-backups, such as keep-last=3',
  'exclude-path': 'only disks of virtual machines are backed up: leave it out, and set backup=0 on a disk',
};

export const BACKUP_FIELDS = {
  vmid: vmidList('Guests, between commas.'),
  all: Type.Optional(Type.Boolean({ description: 'All guests of this machine, when the job runs.' })),
  exclude: vmidList('With all: not these.'),
  storage: Type.Optional(StorageName),
  mode: Type.Optional(Type.Enum([...BACKUP_MODES], { description: 'As holdfast vm backup; snapshot without it.' })),
  lockwait: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, description: 'Minutes.' })),
  protected: Type.Optional(Type.Boolean({ description: 'The backups are protected from removal.' })),
  ...DUMP_FIELDS,
  'prune-backups': Type.Optional(
    Type.String({
      maxLength: 1024,
      description:
        'keep-last=N and so on: applied to the backups of each guest after its own, with Datastore.Allocate.',
    }),
  ),
  remove: Type.Optional(Type.Boolean({ description: 'Not 0 together with prune-backups.' })),
  ...WITHOUT_EFFECT,
  tmpdir: Refused(4096),
  mailto: Refused(4096),
  mailnotification: Refused(32),
  maxfiles: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31, description: REFUSED })),
  'exclude-path': Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 256, description: REFUSED })),
};
export type BackupFields = Static<TObject<typeof BACKUP_FIELDS>>;

/** Options of the job with the same name and meaning. */
const SAME = ['mode', 'lockwait', 'protected', 'bwlimit', 'ionice', 'notes-template', 'script'] as const;
const OTHERS = ['node', 'store', 'vmid', 'all', 'exclude', 'fleecing-storage', 'without-effect', ...KEEP_RULES];
const OURS: ReadonlySet<string> = new Set([...SAME, ...OTHERS]);

/** @throws ParameterError for what is not here. */
export function refuseWhatIsNotHere(asked: BackupFields): void {
  const [wrong] = Object.entries(asked).filter(([name, value]) => name in NOT_HERE && value !== '');
  if (wrong !== undefined) throw new ParameterError([[wrong[0], NOT_HERE[wrong[0]] as string]]);
  if (asked['notification-mode'] === 'legacy-sendmail')
    throw new ParameterError([['notification-mode', NOT_HERE.mailto as string]]);
  if (asked.remove === false && !keepsAll(asked['prune-backups']))
    throw new ParameterError([['remove', "option conflicts with option 'prune-backups'"]]);
}

/** The options of a job; those of `before` that these fields do not speak of stay. @throws ParameterError. */
export function optionsOf(fields: BackupFields, before: JobOptions = {}): JobOptions {
  requireChoice(fields);
  const { vmid, exclude, fleecing } = fields;
  const isAll = vmid === undefined;
  const fleecingOn = fleecingStorage(fleecing);
  const withoutEffect = given({
    ...Object.fromEntries(Object.keys(WITHOUT_EFFECT).map((name) => [name, fields[name as keyof BackupFields]])),
    fleecing: fleecingOn === undefined ? fleecing || undefined : undefined,
    'prune-backups': keepsAll(fields['prune-backups']) ? fields['prune-backups'] || undefined : undefined,
  });
  return {
    // Tags narrow all of them, and mean nothing beside names.
    ...Object.fromEntries(Object.entries(before).filter(([name]) => !OURS.has(name) && (isAll || name !== 'tags'))),
    node: LOCAL_NODE,
    store: fields.storage,
    ...given(Object.fromEntries(SAME.map((name) => [name, fields[name]]))),
    ...(isAll ? { all: true } : { vmid: guestIds('vmid', vmid) }),
    ...(isAll && exclude !== undefined && { exclude: guestIds('exclude', exclude) }),
    ...(fleecingOn !== undefined && { 'fleecing-storage': fleecingOn }),
    ...keepCountsOf(fields['prune-backups']),
    ...(Object.keys(withoutEffect).length > 0 && { 'without-effect': withoutEffect }),
  };
}

/** What a job has been set up with. */
export function fieldsOf(options: JobOptions): BackupFields {
  const { store, vmid, all, exclude, 'fleecing-storage': fleecing, 'without-effect': more = {} } = options;
  const rules = KEEP_RULES.filter((rule) => options[rule] !== undefined).map((rule) => `${rule}=${options[rule]}`);
  return given({
    storage: store,
    vmid: (vmid as readonly number[] | undefined)?.join(','),
    all,
    exclude: (exclude as readonly number[] | undefined)?.join(','),
    ...Object.fromEntries(SAME.map((name) => [name, options[name]])),
    fleecing: fleecing === undefined ? undefined : `enabled=1,storage=${String(fleecing)}`,
    'prune-backups': rules.length === 0 ? undefined : rules.sort().join(','),
    ...(more as object),
  }) as BackupFields;
}

/** What names guests takes the place of what named them before, as with Proxmox VE. */
export function withNewGuests(before: BackupFields, asked: BackupFields): BackupFields {
  if (asked.vmid !== undefined) return without(before, ['all', 'exclude']);
  return asked.all === true ? without(before, ['vmid']) : before;
}

/** Fields but these. */
export function without(fields: BackupFields, names: readonly string[]): BackupFields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** @throws ParameterError. */
function requireChoice({ vmid, all, exclude }: BackupFields): void {
  const conflict = "option conflicts with option 'vmid'";
  if (vmid !== undefined && all === true) throw new ParameterError([['all', conflict]]);
  if (vmid !== undefined && exclude !== undefined) throw new ParameterError([['exclude', conflict]]);
  // As Proxmox VE has it: what is left out is left out of all.
  if (vmid === undefined && all !== true && exclude === undefined)
    throw new ParameterError([['vmid', 'property is missing: name guests, or give all']]);
  if (vmid !== undefined && listOf(vmid).length === 0) throw new ParameterError([['vmid', 'name a guest']]);
}

/** @throws ParameterError. */
function keepCountsOf(text: string | undefined): Record<string, number> {
  if (keepsAll(text)) return {};
  const counts: Record<string, number> = {};
  for (const part of listOf(text)) {
    const [, rule = '', count = ''] = /^([a-z-]+)=(\d{1,7})$/.exec(part) ?? [];
    if (!(KEEP_RULES as readonly string[]).includes(rule) || Number(count) > 1_000_000)
      throw new ParameterError([['prune-backups', `'${part.slice(0, 64)}' is no rule: keep-last=3,keep-daily=7`]]);
    if (Number(count) > 0) counts[rule] = Number(count);
  }
  if (Object.keys(counts).length > 0) return counts;
  throw new ParameterError([['prune-backups', 'one of the rules must keep something, or keep-all=1']]);
}
