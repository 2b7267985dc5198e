// The digest that tells a whole manifest from a damaged or edited one, and the roots of a manifest for a worker thread.
// Kept apart from the schema, which no thread needs to load.
import { readFileSync } from 'node:fs';
import { hexHash } from '../../chunker/object-id.ts';
import type { ClientPart, Manifest, ServerPart } from '../../schema/manifest.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { systemCode } from '../../util/errors.ts';

export function manifestDigest(client: ClientPart, server: ServerPart): string {
  return hexHash(Buffer.from(canonicalJson({ client, server })));
}

/**
 * The roots that a manifest names in a space, for a thread that completes a scope. A manifest that is gone or altered names none:
 * the scope is only smaller then.
 */
export function readRoots(path: string, space: number): string[] {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  // With the digest that this program wrote, the rest has the shape that it wrote.
  if (manifest?.client === undefined || manifestDigest(manifest.client, manifest.server) !== manifest.digest) return [];
  return manifest.server.space === space ? manifest.client.archives.map((archive) => archive.root) : [];
}
