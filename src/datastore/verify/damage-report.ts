// What a verification found, for people, and the error that a command or a task with such a result ends with.

import { fromBytes } from '../../util/byte-string.ts';
import { HoldfastError } from '../../util/errors.ts';
import { shownPath } from '../../util/shown-path.ts';
import type { DamagedPath } from '../damaged-paths.ts';
import type { ArchiveDamage } from './snapshot-damage.ts';
import type { VerifyReport } from './verify-store.ts';

/** Ranges, or files, of one archive that the text shows; JSON has more. */
const SHOWN_RANGES = 20;

/** Ends with an error when anything is damaged: `object-damaged`, or `manifest-altered` when it is manifests alone. */
export function refuseDamage(report: VerifyReport): void {
  const { damaged, packsDamaged, manifestsDamaged } = report;
  const unreferencedDamaged = report.unreferencedDamaged ?? 0;
  const snapshots = new Set(damaged.map(({ ns, snapshot }) => `${ns}/${snapshot}`)).size;
  const parts = [
    ...(snapshots > 0 ? [`${snapshots} snapshots have damaged ranges or files`] : []),
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
  const archives = damaged.flatMap((archive) => [
    `damaged: ${archive.snapshot}${archive.ns === '' ? '' : ` (namespace ${archive.ns})`} ${archive.archive}${archive.withoutKey ? ': it is encrypted, where cannot be told without its key' : ''}`,
    ...(archive.files === undefined ? rangeLines(archive) : pathLines(archive.files)),
  ]);
  return [
    ...archives,
    ...packsDamaged.map(({ pack, problem }) => `pack ${pack}: ${problem}`),
    ...manifestsDamaged.map(({ error }) => error),
  ];
}

function rangeLines({ ranges }: ArchiveDamage): string[] {
  return [
    ...ranges.slice(0, SHOWN_RANGES).map(({ offset, length }) => `  ${length} bytes at ${offset}`),
    ...(ranges.length > SHOWN_RANGES ? [`  and ${ranges.length - SHOWN_RANGES} ranges more`] : []),
  ];
}

function pathLines({ count, first }: NonNullable<ArchiveDamage['files']>): string[] {
  const shown = first.slice(0, SHOWN_RANGES);
  return [
    ...shown.map((damaged) => `  ${pathLine(damaged)}`),
    ...(count > shown.length ? [`  and ${count - shown.length} files or directories more`] : []),
  ];
}

function pathLine({ path, pathBytes, type, sizeBytes, bytesLost, namesFrom, namesBefore }: DamagedPath): string {
  const bytes = pathBytes === undefined ? Buffer.from(path, 'utf8') : Buffer.from(pathBytes, 'base64');
  const name = `/${shownPath(fromBytes(bytes))}`;
  if (type === 'file') return `${name}: ${bytesLost} of ${sizeBytes} bytes are lost`;
  if (namesFrom === undefined) return `${name}: the directory is lost, and what is below it is not known`;
  const end = namesBefore === undefined ? 'on to the end' : `to before ${namesBefore}`;
  return `${name}: its names from ${namesFrom} ${end} are lost, and what is below them is not known`;
}
