// A verification as an operation.

import { Type } from 'typebox';
import { Count, CountOrNull } from '../../schema/answer-parts.ts';
import type { Operation } from '../control/operation.ts';
import type { VerifyReport, VerifyRequest } from './verify-store.ts';

const DamagedPath = Type.Object({
  path: Type.String(),
  pathBytes: Type.Optional(Type.String()),
  type: Type.String(),
  sizeBytes: CountOrNull,
  bytesLost: CountOrNull,
});

const Damaged = Type.Object({
  ns: Type.String(),
  snapshot: Type.String(),
  archive: Type.String(),
  ranges: Type.Array(Type.Object({ offset: Count, length: Count })),
  files: Type.Optional(Type.Object({ count: Count, first: Type.Array(DamagedPath) })),
  withoutKey: Type.Optional(Type.Literal(true)),
});

const ReportAnswer = Type.Object({
  packsRead: Count,
  packsSkipped: Count,
  packsDropped: Count,
  recordsRead: Count,
  recordsEncrypted: Count,
  bytesRead: Count,
  metadataRead: Count,
  copiesDamaged: Count,
  unreferencedDamaged: CountOrNull,
  objectsMissing: Count,
  damaged: Type.Array(Damaged),
  packsDamaged: Type.Array(Type.Object({ pack: Type.String(), problem: Type.String() })),
  manifestsDamaged: Type.Array(Type.Object({ ns: Type.String(), snapshot: Type.String(), error: Type.String() })),
});

export const verify: Operation<VerifyRequest, VerifyReport> = {
  name: 'verify',
  answer: ReportAnswer,
  isLong: true,
  run: async (store, request, { signal, onProgress }) =>
    await store.verify(request, {
      signal,
      onProgress: (bytesDone, bytesTotal) => onProgress('verify', bytesDone, bytesTotal),
    }),
};
