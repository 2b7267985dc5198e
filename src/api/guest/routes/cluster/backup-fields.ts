// A backup job in Proxmox VE's fields, and as the options that our job of kind vzdump is kept with.
import { type Static, type TObject, Type } from 'typebox';
import { KEEP_RULES } from '../../../../datastore/prune/keep-rules.ts';
import type { JobOptions } from '../../../../jobs/schedule/job.ts';
import { LOCAL_NODE } from '../../../../schema/names.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { PoolName } from '../../../routes/pool-parts.ts';
import { BACKUP_MODES, DUMP_FIELDS, fleecingOf, guestIds, keepsAll, vmidList } from '../nodes/dump-parameters.ts';
import { given, listOf, StorageName } from '../parameters.ts';
import { WITHOUT_EFFECT, type WithoutEffect } from './without-effect.ts';

const REFUSED = 'Refused: not here.';
const Refused = (maxLength: number) => Type.Optional(Type.String({ maxLength, description: REFUSED }));

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
  pool: Type.Optional(PoolName),
  exclude: vmidList('With all or a pool: not these.'),
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
const OTHERS = ['node', 'store', 'vmid', 'all', 'pool', 'exclude', 'fleecing-storage', 'without-effect', ...KEEP_RULES];
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
  const { vmid, pool, exclude } = fields;
  const isAll = vmid === undefined && pool === undefined;
  const fleecing = fleecingOf(fields.fleecing);
  const keep = keepRulesOf(fields['prune-backups']);
  const withoutEffect = given({
    ...Object.fromEntries(Object.keys(WITHOUT_EFFECT).map((name) => [name, fields[name as keyof BackupFields]])),
    fleecing: fleecing.idle,
    'prune-backups': keep.idle,
  });
  return {
    // Tags narrow all of them, and mean nothing beside names.
    ...Object.fromEntries(Object.entries(before).filter(([name]) => !OURS.has(name) && (isAll || name !== 'tags'))),
    node: LOCAL_NODE,
    store: fields.storage,
    ...given(Object.fromEntries(SAME.map((name) => [name, fields[name]]))),
    ...(isAll ? { all: true } : given({ pool, vmid: vmid === undefined ? undefined : guestIds('vmid', vmid) })),
    ...(vmid === undefined && exclude !== undefined && { exclude: guestIds('exclude', exclude) }),
    ...given({ 'fleecing-storage': fleecing.storage }),
    ...keep.counts,
    ...(Object.keys(withoutEffect).length > 0 && { 'without-effect': withoutEffect }),
  };
}

/** What a job has been set up with. */
export function fieldsOf(options: JobOptions): BackupFields {
  const { store, vmid, all, pool, exclude, 'fleecing-storage': storage, 'without-effect': idle = {} } = options;
  const { fleecing, 'prune-backups': idleRules, ...shown } = idle as WithoutEffect;
  const rules = KEEP_RULES.filter((rule) => options[rule] !== undefined).map((rule) => `${rule}=${options[rule]}`);
  // All are kept where no rule says otherwise.
  const others = listOf(idleRules).filter((rule) => (rule === 'keep-all=1') === (rules.length === 0));
  return given({
    ...shown,
    storage: store,
    vmid: (vmid as readonly number[] | undefined)?.join(','),
    all,
    pool,
    exclude: (exclude as readonly number[] | undefined)?.join(','),
    ...Object.fromEntries(SAME.map((name) => [name, options[name]])),
    fleecing: storage === undefined ? fleecing : `enabled=1,storage=${String(storage)}`,
    'prune-backups': [...rules, ...others].sort().join(',') || undefined,
  }) as BackupFields;
}

/** What names guests takes the place of what named them before, as with Proxmox VE. */
export function withNewGuests(before: BackupFields, asked: BackupFields): BackupFields {
  if (asked.vmid !== undefined) return without(before, ['all', 'exclude', 'pool']);
  if (asked.pool !== undefined) return without(before, ['all', 'vmid']);
  return asked.all === true ? without(before, ['vmid', 'pool']) : before;
}

/** Fields but these. */
export function without(fields: BackupFields, names: readonly string[]): BackupFields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** @throws ParameterError. */
function requireChoice({ vmid, all, pool, exclude }: BackupFields): void {
  const conflict = "option conflicts with option 'vmid'";
  if (vmid !== undefined && pool !== undefined) throw new ParameterError([['pool', conflict]]);
  if (pool !== undefined && all === true) throw new ParameterError([['all', "option conflicts with option 'pool'"]]);
  if (vmid !== undefined && all === true) throw new ParameterError([['all', conflict]]);
  if (vmid !== undefined && exclude !== undefined) throw new ParameterError([['exclude', conflict]]);
  // As Proxmox VE has it: what is left out is left out of all.
  if (vmid === undefined && pool === undefined && all !== true && exclude === undefined)
    throw new ParameterError([['vmid', 'property is missing: name guests or a pool, or give all']]);
  if (vmid !== undefined && listOf(vmid).length === 0) throw new ParameterError([['vmid', 'name a guest']]);
}

/** The rules that keep something, and what says nothing. @throws ParameterError. */
export function keepRulesOf(text: string | undefined): {
  readonly counts: Record<string, number>;
  readonly idle?: string;
} {
  if (keepsAll(text)) return { counts: {}, ...(listOf(text).length > 0 && { idle: 'keep-all=1' }) };
  const counts: Record<string, number> = {};
  const idle: string[] = [];
  for (const part of listOf(text)) {
    const [, rule = '', count = ''] = /^([a-z-]+)=(\d{1,7})$/.exec(part) ?? [];
    if (/^keep-all=(0|no|off|false)$/.test(part)) idle.push('keep-all=0');
    else if (!(KEEP_RULES as readonly string[]).includes(rule) || Number(count) > 1_000_000)
      throw new ParameterError([['prune-backups', `'${part.slice(0, 64)}' is no rule: keep-last=3,keep-daily=7`]]);
    else if (Number(count) > 0) counts[rule] = Number(count);
    else idle.push(`${rule}=0`);
  }
  if (Object.keys(counts).length > 0) return { counts, ...(idle.length > 0 && { idle: idle.join(',') }) };
  throw new ParameterError([['prune-backups', 'one of the rules must keep something, or keep-all=1']]);
}
