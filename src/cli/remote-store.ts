// The way to the server of --repository https://…: its address, and what lets this client in.
import type { RemoteStore } from '../transport/client/remote-store.ts';
import { findAccess } from '../transport/client/remotes.ts';
import { parseRepositoryAddress } from '../transport/client/repository-address.ts';
import { parseRateLimit } from './rate-limit.ts';
import { type CommonOptions, repositoryText } from './repository.ts';

/**
 * Runs `use` with the server of --repository, and ends its sessions and connections after it.
 * @throws `bad-argument` for a wrong address, or without a secret.
 */
export async function withRemoteStore<Result>(
  options: CommonOptions,
  signal: AbortSignal,
  use: (store: RemoteStore) => Promise<Result>,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Result> {
  const store = await remoteStore(options, signal, env);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Opens no connection yet. */
async function remoteStore(options: CommonOptions, signal: AbortSignal, env: NodeJS.ProcessEnv): Promise<RemoteStore> {
  const address = parseRepositoryAddress(repositoryText(options));
  const access = await findAccess(address, { fingerprint: options.fingerprint }, env);
  // Commands on a directory do without an HTTP client, and start sooner.
  const { RemoteStore } = await import('../transport/client/remote-store.ts');
  return new RemoteStore(address, access, {
    signal,
    uploadBytesPerSecond: parseRateLimit(options.limitUpload, '--limit-upload') ?? undefined,
    downloadBytesPerSecond: parseRateLimit(options.limitDownload, '--limit-download') ?? undefined,
  });
}
