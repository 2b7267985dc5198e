// What a section of storage.cfg means for this node: a storage of a type that we have, or the reason why it cannot be used. Properties that
// would change where volumes lie, and that we do not follow, are such a reason; others are kept and have no effect.
import { isAbsolute, normalize } from 'node:path';
import { isSet, type StorageSection } from './storage-config.ts';

export const STORAGE_TYPES = ['dir', 'btrfs'] as const;

const DEFAULT_CONTENT = 'images,rootdir';
const UNFOLLOWED = ['content-dirs', 'snapshot-as-volume-chain'];

export interface StorageEntry {
  readonly id: string;
  readonly type: (typeof STORAGE_TYPES)[number];
  readonly content: readonly string[];
  /** Absolute. */
  readonly path: string;
  /** What has to be mounted before the storage is used. */
  readonly mountPoint: string | undefined;
  /** The path is made when it is not there. */
  readonly createsPath: boolean;
}

/** The words of `content`. */
export function contentOf({ properties }: StorageSection): string[] {
  const words = (properties.get('content') ?? DEFAULT_CONTENT).split(/[\s,;]+/);
  return [...new Set(words.filter((word) => word !== '' && word !== 'none'))];
}

/** A text is the reason why this node cannot use it. */
export function readStorageEntry(section: StorageSection, nodeName: string): StorageEntry | string {
  const { type, id, properties } = section;
  if (isSet(properties.get('disable'))) return 'it is disabled';
  const nodes = properties.get('nodes')?.split(/[\s,;]+/) ?? [];
  if (nodes.length > 0 && !nodes.includes(nodeName))
    return `it is for the nodes ${nodes.join(', ')}, not for ${nodeName}`;
  const ours = STORAGE_TYPES.find((known) => known === type);
  if (ours === undefined) return `its type ${type} is not supported here; there are ${STORAGE_TYPES.join(' and ')}`;
  const unfollowed = UNFOLLOWED.find((property) => isSet(properties.get(property)));
  if (unfollowed !== undefined) return `its property ${unfollowed} is not supported here`;
  const path = properties.get('path') ?? '';
  if (!isAbsolute(path) || normalize(path) !== path)
    return `its path ${JSON.stringify(path)} is not absolute, or not plain`;
  const mount = properties.get('is_mountpoint');
  return {
    id,
    type: ours,
    content: contentOf(section),
    path,
    mountPoint: !isSet(mount) ? undefined : mount?.startsWith('/') ? mount : path,
    createsPath: !isNo(properties.get('mkdir')) && !isNo(properties.get('create-base-path')),
  };
}

function isNo(value: string | undefined): boolean {
  return value !== undefined && !isSet(value);
}
