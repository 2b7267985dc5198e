// What the user wrote for a disk -> where it is. Pure. `PATH`, `FORMAT:PATH`, or the NBD URIs of
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md. A path that looks like one of them is written `./...`.
import { HoldfastError } from '../../util/errors.ts';
import type { NbdAddress } from '../nbd/client.ts';

export type DiskSpec =
  | {
      readonly kind: 'path';
      readonly path: string /** Undefined: to be detected. */;
      readonly format: string | undefined;
    }
  | { readonly kind: 'nbd'; readonly address: NbdAddress; readonly exportName: string };

/** Prefixes that name a format, and QEMU's block driver for it. */
export const FORMAT_DRIVERS: ReadonlyMap<string, string> = new Map([
  ['raw', 'raw'],
  ['qcow', 'qcow'],
  ['qcow2', 'qcow2'],
  ['vmdk', 'vmdk'],
  ['vdi', 'vdi'],
  ['vhdx', 'vhdx'],
  ['vhd', 'vpc'],
  ['qed', 'qed'],
]);

const NBD_PORT = 10_809;

/** Throws `bad-argument`. */
export function parseDiskSpec(spec: string): DiskSpec {
  if (/^nbds?(\+[a-z]+)?:\/\//.test(spec)) return parseNbdUri(spec);
  const colon = spec.indexOf(':');
  const format = FORMAT_DRIVERS.get(spec.slice(0, Math.max(colon, 0)));
  const path = format === undefined ? spec : spec.slice(colon + 1);
  if (path === '') throw new HoldfastError('bad-argument', `"${spec}" names no disk; give a path`);
  return { kind: 'path', path, format };
}

function parseNbdUri(text: string): DiskSpec {
  const bad = (why: string) => new HoldfastError('bad-argument', `${text}: ${why}`, { data: { uri: text } });
  let uri: URL;
  let exportName: string;
  try {
    uri = new URL(text);
    exportName = decodeURIComponent(uri.pathname.replace(/^\//, ''));
  } catch {
    throw bad('not a URI; write nbd://HOST:PORT/NAME or nbd+unix:///NAME?socket=PATH');
  }
  if (uri.protocol === 'nbd:') {
    if (uri.hostname === '') throw bad('names no host; write nbd://HOST:PORT/NAME');
    const host = uri.hostname.replace(/^\[(.*)\]$/, '$1');
    return { kind: 'nbd', address: { host, port: uri.port === '' ? NBD_PORT : Number(uri.port) }, exportName };
  }
  if (uri.protocol === 'nbd+unix:') {
    const socketPath = uri.searchParams.get('socket');
    if (!socketPath) throw bad('names no socket; write nbd+unix:///NAME?socket=PATH');
    return { kind: 'nbd', address: { socketPath }, exportName };
  }
  throw bad('only nbd: and nbd+unix: are supported; for TLS use a tunnel');
}
