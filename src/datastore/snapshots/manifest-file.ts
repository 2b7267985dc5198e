// Reads and writes manifest.json. A manifest that was edited by hand, or damaged, is told from a whole one by its digest.
import { readFileSync } from 'node:fs';
import { hexHash } from '../../chunker/object-id.ts';
import { type ClientPart, Manifest, type ServerPart } from '../../schema/manifest.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { canonicalJson, JsonShapeError, parseJson } from '../../util/json-file.ts';

export function encodeManifest(client: ClientPart, server: ServerPart): string {
  const digest = manifestDigest(client, server);
  return `${JSON.stringify({ format: 1, client, server, digest } satisfies Manifest, undefined, 1)}\n`;
}

/**
 * Reads a manifest; undefined when the file is not there.
 * @throws HoldfastError `manifest-altered` when it is not what was written.
 */
export async function readManifest(path: string): Promise<Manifest | undefined> {
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  let manifest: Manifest;
  try {
    manifest = parseJson(text, Manifest);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw altered(path, error.message);
  }
  if (manifestDigest(manifest.client, manifest.server) !== manifest.digest) {
    throw altered(path, 'its content does not match its digest');
  }
  return manifest;
}

/**
 * The roots that a manifest names in a space, for a thread that completes a scope. A manifest that is gone or altered names none:
 * the scope is only smaller then.
 */
export function readRoots(path: string, space: number): string[] {
  let manifest: Manifest;
  try {
    manifest = parseJson(readFileSync(path, 'utf8'), Manifest);
  } catch (error) {
    if (error instanceof JsonShapeError || systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  if (manifest.server.space !== space || manifestDigest(manifest.client, manifest.server) !== manifest.digest) return [];
  return manifest.client.archives.map((archive) => archive.root);
}

function manifestDigest(client: ClientPart, server: ServerPart): string {
  return hexHash(Buffer.from(canonicalJson({ client, server })));
}

function altered(path: string, why: string): HoldfastError {
  return new HoldfastError('manifest-altered', `${path} was damaged or edited by hand (${why}); put the original back from a replica, or forget this snapshot`, {
    data: { path },
  });
}
