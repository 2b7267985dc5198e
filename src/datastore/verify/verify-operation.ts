// A verification as an operation.
import type { Operation } from '../control/operation.ts';
import type { VerifyReport, VerifyRequest } from './verify-store.ts';

export const verify: Operation<VerifyRequest, VerifyReport> = {
  name: 'verify',
  isLong: true,
  run: async (store, request, { signal, onProgress }) =>
    await store.verify(request, {
      signal,
      onProgress: (bytesDone, bytesTotal) => onProgress('verify', bytesDone, bytesTotal),
    }),
};
