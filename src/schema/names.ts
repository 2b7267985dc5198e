// The grammar of every name that becomes part of a path: checked here before it touches a file system. Proxmox's words and rules.
import { HoldfastError } from '../util/errors.ts';

const SAFE = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const MAX_NAME_BYTES = 128;
export const MAX_NAMESPACE_DEPTH = 7;
const MAX_NAMESPACE_BYTES = 256;

/** The node of the agent in the server's own process. */
export const LOCAL_NODE = 'localhost';

export const GROUP_TYPES = ['vm', 'ct', 'host'] as const;
export type GroupType = (typeof GROUP_TYPES)[number];

declare const groupBrand: unique symbol;
declare const namespaceBrand: unique symbol;

/** `TYPE/ID`, checked. */
export type GroupName = string & { readonly [groupBrand]: true };
/** Parts joined with `/`; the empty text is the root namespace. Checked. */
export type Namespace = string & { readonly [namespaceBrand]: true };

/** What a user named: a group and `latest` or a time. */
export interface SnapshotRef {
  readonly group: GroupName;
  /** Unix seconds, or undefined for `latest`. */
  readonly time: number | undefined;
}

export function parseGroup(text: string): GroupName {
  const [type, id, ...rest] = text.split('/');
  if (type === undefined || id === undefined || rest.length > 0 || !GROUP_TYPES.includes(type as GroupType)) {
    throw bad(text, 'group', `write TYPE/ID, where TYPE is ${GROUP_TYPES.join(', ')}: for example vm/101`);
  }
  requireSafe(id, 'group id');
  return text as GroupName;
}

export function parseNamespace(text: string): Namespace {
  if (text === '') return text as Namespace;
  const parts = text.split('/');
  if (parts.length > MAX_NAMESPACE_DEPTH || Buffer.byteLength(text) > MAX_NAMESPACE_BYTES) {
    throw bad(text, 'namespace', `at most ${MAX_NAMESPACE_DEPTH} parts and ${MAX_NAMESPACE_BYTES} bytes`);
  }
  for (const part of parts) requireSafe(part, 'namespace');
  return text as Namespace;
}

/** Parts of a namespace; the root has none. */
export function namespaceDepth(ns: string): number {
  return ns === '' ? 0 : ns.split('/').length;
}

export type ArchiveKind = 'image' | 'tree' | 'blob';

/** Archive names decide what is stored: `.img` an image, `.tree` a file tree, `.conf`, `.fw`, `.log`, `.json`, `.blob` a blob. */
export function archiveKind(name: string): ArchiveKind {
  requireSafe(name, 'archive name');
  if (/\.img$/.test(name)) return 'image';
  if (/\.tree$/.test(name)) return 'tree';
  if (/\.(conf|fw|log|json|blob)$/.test(name)) return 'blob';
  throw bad(
    name,
    'archive name',
    'end it with .img for a disk image, with .tree for a file tree, or with .conf, .fw, .log, .json or .blob for a small file',
  );
}

export function requireSafe(text: string, what: string): void {
  if (!SAFE.test(text) || Buffer.byteLength(text) > MAX_NAME_BYTES) {
    throw bad(
      text,
      what,
      `use letters, digits, '.', '_' and '-', not starting with '.' or '-', at most ${MAX_NAME_BYTES} bytes`,
    );
  }
}

/** Reads `TYPE/ID/TIME` or `TYPE/ID/latest`. */
export function parseSnapshotRef(text: string): SnapshotRef {
  const cut = text.lastIndexOf('/');
  const group = parseGroup(text.slice(0, Math.max(0, cut)));
  const label = text.slice(cut + 1);
  if (label === 'latest') return { group, time: undefined };
  return { group, time: parseTime(label) };
}

/** Reads RFC 3339 or Unix seconds; years 1970 to 9999. Returns Unix seconds. */
export function parseTime(text: string): number {
  const seconds = /^\d{1,12}$/.test(text)
    ? Number(text)
    : isRealDate(text)
      ? Math.floor(Date.parse(text) / 1000)
      : Number.NaN;
  if (!Number.isFinite(seconds) || seconds < MIN_TIME || seconds > MAX_TIME) {
    throw bad(text, 'time', 'write RFC 3339 like 2026-11-20T02:00:00Z, or Unix seconds');
  }
  return seconds;
}

/** Date.parse takes 30 February for 2 March, and 24:00 for the next day. */
function isRealDate(text: string): boolean {
  if (!RFC3339.test(text)) return false;
  const clock = text.slice(0, 19);
  const utcMs = Date.parse(`${clock}Z`);
  return Number.isFinite(utcMs) && new Date(utcMs).toISOString().startsWith(clock);
}

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const MIN_TIME = Date.UTC(1970, 0, 1) / 1000;
/** The last second that the snapshot label can show. */
export const MAX_TIME = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;

/** The label of a snapshot: `2026-11-20T02:00:00Z`. */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function bad(text: string, what: string, hint: string): HoldfastError {
  // Control characters of a hostile name must not reach a terminal.
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text).replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${(char.codePointAt(0) as number).toString(16)}}`,
  );
  return new HoldfastError('bad-name', `${shown} is not a valid ${what}: ${hint}`, { data: { name: text } });
}
