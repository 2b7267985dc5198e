// The client's signature under its part of a manifest: who may write to the datastore can alter a manifest and its digest, but not this.
// It binds group, roots, sizes, client time, base and key; not the namespace, for a replica may have another. docs/format.md, section 9.
import { timingSafeEqual } from 'node:crypto';
import type { DataKey } from '../../chunker/data-key.ts';
import { keyedHash } from '../../chunker/object-id.ts';
import type { ClientPart, Manifest } from '../../schema/manifest.ts';
import { formatTime } from '../../schema/names.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { HoldfastError } from '../../util/errors.ts';

const DOMAIN = 'holdfast manifest v1\0';

/** How far a label may lie from the client's time: a commit takes time, clocks differ, and labels of one group are a second apart. */
export const LABEL_TOLERANCE_SECONDS = 600;

/** The client part with its signature; `client.key` must name the key already. */
export function signClientPart(client: ClientPart, key: DataKey): ClientPart {
  return { ...client, signature: signatureOf(client, key).toString('hex') };
}

/**
 * Whether a manifest may be used with a key: made with it, signed by it, and of the group that was asked for.
 * @throws `key-missing`, `key-wrong`, `manifest-altered`.
 */
export function requireSigned({ client, server }: Manifest, group: string, key: DataKey | undefined): void {
  const label = `${group}/${formatTime(server.time)}`;
  requireKey(label, client.key, key);
  if (client.backup !== group) throw altered(label, `it is a snapshot of ${client.backup}`);
  if (key === undefined || client.key === null) return;
  if (client.signature === undefined) throw altered(label, `it claims the key ${key.fingerprint} and is not signed`);
  const expected = signatureOf(client, key);
  const found = Buffer.from(client.signature, 'hex');
  if (found.length !== expected.length || !timingSafeEqual(found, expected))
    throw altered(label, 'its signature does not hold: archives, sizes, times or group were changed');
}

/** What is wrong with a label, which the server sets: undefined when it is of the time that the client signed. */
export function implausibleLabel({ client, server }: Manifest): string | undefined {
  const madeAt = Date.parse(client.clientTime) / 1000;
  const expected = client.askedTime ?? madeAt;
  if (Math.abs(server.time - expected) <= LABEL_TOLERANCE_SECONDS) return undefined;
  return `${client.backup}/${formatTime(server.time)} was made by its client at ${client.clientTime}${client.askedTime === undefined ? '' : ` with the label ${formatTime(client.askedTime)}`}`;
}

/** @throws `key-missing`, `key-wrong`. A plain snapshot needs no key, and any may be given. */
function requireKey(label: string, wanted: string | null, key: DataKey | undefined): void {
  if (wanted === null || wanted === key?.fingerprint) return;
  const data = { data: { fingerprint: wanted } };
  if (key === undefined)
    throw new HoldfastError(
      'key-missing',
      `${label} is encrypted with the key ${wanted}: give its key file with --keyfile`,
      data,
    );
  throw new HoldfastError(
    'key-wrong',
    `${label} is encrypted with the key ${wanted}, and the key file holds ${key.fingerprint}: give the other one with --keyfile`,
    data,
  );
}

function signatureOf(client: ClientPart, key: DataKey): Buffer {
  return keyedHash(key.signatureKey, Buffer.from(DOMAIN + canonicalJson({ ...client, signature: undefined })));
}

function altered(label: string, why: string): HoldfastError {
  return new HoldfastError(
    'manifest-altered',
    `the manifest of ${label} is not what its client wrote: ${why}; use another snapshot, and find out who changed it`,
    { data: { snapshot: label } },
  );
}
