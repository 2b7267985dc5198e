// What a verification found, for people, and the error that a command with such a result ends with.
import type { VerifyReport } from '../datastore/verify/verify-store.ts';
import { HoldfastError } from '../util/errors.ts';

/** Ranges of one archive that the text shows; JSON has all. */
const SHOWN_RANGES = 20;

/** Ends with an error when anything is damaged: `object-damaged`, or `manifest-altered` when it is manifests alone. */
export function refuseDamage(report: VerifyReport): void {
  const { damaged, packsDamaged, manifestsDamaged } = report;
  const unreferencedDamaged = report.unreferencedDamaged ?? 0;
  const snapshots = new Set(damaged.map(({ ns, snapshot }) => `${ns}/${snapshot}`)).size;
  const parts = [
    ...(snapshots > 0 ? [`${snapshots} snapshots have damaged ranges`] : []),
    ...(unreferencedDamaged > 0 ? [`${unreferencedDamaged} damaged objects are in no snapshot`] : []),
    ...(packsDamaged.length > 0 ? [`${packsDamaged.length} faults in the structure of packs`] : []),
    ...(manifestsDamaged.length > 0 ? [`${manifestsDamaged.length} manifests are not what was written`] : []),
  ];
  if (parts.length === 0) return;
  const onlyManifests = parts.length === 1 && manifestsDamaged.length > 0;
  throw new HoldfastError(
    onlyManifests ? 'manifest-altered' : 'object-damaged',
    `${parts.join(', ')}; look at the disk (dmesg, SMART), then back up again, which stores what is damaged anew`,
    { data: { snapshots, unreferencedDamaged, packs: packsDamaged.length, manifests: manifestsDamaged.length } },
  );
}

/** One line for each damaged archive, range, pack and manifest. */
export function damageLines({ damaged, packsDamaged, manifestsDamaged }: VerifyReport): string[] {
  const archives = damaged.flatMap(({ ns, snapshot, archive, ranges, withoutKey }) => [
    `damaged: ${snapshot}${ns === '' ? '' : ` (namespace ${ns})`} ${archive}${withoutKey ? ': it is encrypted, where cannot be told without its key' : ''}`,
    ...ranges.slice(0, SHOWN_RANGES).map(({ offset, length }) => `  ${length} bytes at ${offset}`),
    ...(ranges.length > SHOWN_RANGES ? [`  and ${ranges.length - SHOWN_RANGES} ranges more`] : []),
  ]);
  return [
    ...archives,
    ...packsDamaged.map(({ pack, problem }) => `pack ${pack}: ${problem}`),
    ...manifestsDamaged.map(({ error }) => error),
  ];
}
