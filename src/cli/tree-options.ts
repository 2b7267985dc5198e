// The options of a backup that say how file trees are read.
import { type Command, Option } from 'commander';
import type { TreeOptions } from '../agent/tree/backup/backup-tree.ts';
import { IdMap } from '../agent/tree/ids/id-map.ts';
import { EXCLUDE_PRESETS, ExcludeRules, excludePreset } from '../agent/tree/select/exclude.ts';

export interface TreeCommandOptions {
  readonly exclude?: readonly string[];
  readonly excludePreset?: readonly string[];
  readonly includeDev?: readonly string[];
  readonly allFileSystems?: boolean;
  readonly changeDetection: 'metadata' | 'data';
  readonly mapUid?: readonly string[];
  readonly mapGid?: readonly string[];
}

/** Commander calls it with each value of an option that may be given several times. */
function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function addTreeOptions(command: Command): Command {
  return command
    .option(
      '--exclude <PATTERN>',
      'leave out of file trees what matches, as in .holdfastexclude files; may be repeated',
      collect,
    )
    .option('--exclude-preset <NAME>', `patterns by name: ${Object.keys(EXCLUDE_PRESETS).join(', ')}`, collect)
    .option(
      '--include-dev <PATH>',
      'enter the mount points of the file system that PATH lies on, too; may be repeated',
      collect,
    )
    .option('--all-file-systems', 'enter every mount point')
    .addOption(
      new Option('--change-detection <MODE>', 'read the files whose metadata changed, or all')
        .choices(['metadata', 'data'])
        .default('metadata'),
    )
    .option('--map-uid <CONTAINER:HOST:COUNT>', 'user ids of a container on this host; may be repeated', collect)
    .option('--map-gid <CONTAINER:HOST:COUNT>', 'group ids of a container on this host; may be repeated', collect);
}

/** @throws `bad-argument` for patterns, presets or ranges that are none. */
export function treeOptions(options: TreeCommandOptions): TreeOptions {
  const presets = (options.excludePreset ?? []).flatMap(excludePreset);
  const exclude = ExcludeRules.compile([...presets, ...(options.exclude ?? [])]);
  return {
    exclude: exclude.isEmpty ? undefined : exclude.toJSON(),
    changeDetection: options.changeDetection,
    includeDev: options.allFileSystems === true ? undefined : (options.includeDev ?? []),
    idMap: IdMap.parse(options.mapUid ?? [], options.mapGid ?? [])?.toJSON(),
  };
}
