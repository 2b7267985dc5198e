// Reads and writes manifest.json. A manifest that was edited by hand, or damaged, is told from a whole one by its digest.
import { type ClientPart, Manifest, type ServerPart } from '../../schema/manifest.ts';
import { readIfPresent } from '../../util/atomic-file.ts';
import { HoldfastError } from '../../util/errors.ts';
import { JsonShapeError, parseJson } from '../../util/json-file.ts';
import { manifestDigest } from './manifest-digest.ts';

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

function altered(path: string, why: string): HoldfastError {
  return new HoldfastError(
    'manifest-altered',
    `${path} was damaged or edited by hand (${why}); put the original back from a replica, or forget this snapshot`,
    {
      data: { path },
    },
  );
}
