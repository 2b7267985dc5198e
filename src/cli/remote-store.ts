// The way to the server of --repository https://…: its address, and what lets this client in.

import { RemoteStore } from '../transport/client/remote-store.ts';
import { findAccess } from '../transport/client/remotes.ts';
import { parseRepositoryAddress } from '../transport/client/repository-address.ts';
import { parseRateLimit } from './rate-limit.ts';
import { type CommonOptions, repositoryText } from './repository.ts';

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function connect(options: CommonOptions, signal: AbortSignal): Promise<RemoteStore> {
  const address = parseRepositoryAddress(repositoryText(options));
  const access = await findAccess(address, { fingerprint: options.fingerprint }, process.env);
  return new RemoteStore(address, access, {
    signal,
    uploadBytesPerSecond: parseRateLimit(options.limitUpload, '--limit-upload') ?? undefined,
    downloadBytesPerSecond: parseRateLimit(options.limitDownload, '--limit-download') ?? undefined,
  });
}
