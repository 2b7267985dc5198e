// Reads and writes manifest.json. A manifest that was edited by hand, or damaged, is told from a whole one by its digest.
import { readFileSync } from 'node:fs';
import { type ClientPart, Manifest, type ServerPart } from '../../schema/manifest.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
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
export function readManifest(path: string): Manifest | undefined {
  let text: string;
  try {
    // Synchronous: a thousand of them are read in a row, and the way through the thread pool takes longer than the reading.
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
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
