// Schemas of parameters that many methods share. Every name that could become part of a path is checked here already.
import { Type } from 'typebox';
import { OrNull } from '../../schema/answer-parts.ts';
import { GROUP_TYPES, MAX_NAMESPACE_DEPTH } from '../../schema/names.ts';

const SAFE = '^[A-Za-z0-9_][A-Za-z0-9._-]*$';
export const LINE = '^[^\\u0000-\\u001f\\u007f]*$';

export const StoreName = Type.String({
  pattern: SAFE,
  minLength: 3,
  maxLength: 32,
  description: 'Name of a datastore.',
});
export const NamespaceText = Type.String({
  pattern: '^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6})?$',
  maxLength: 256,
  description: 'Namespace; empty or missing is the root.',
});
export const MaxDepth = Type.Integer({
  minimum: 0,
  maximum: MAX_NAMESPACE_DEPTH,
  default: MAX_NAMESPACE_DEPTH,
  description: 'Namespaces so many parts below are still looked at.',
});
export const BackupType = Type.Enum([...GROUP_TYPES], { description: 'What was backed up.' });
export const BackupId = Type.String({ pattern: SAFE, maxLength: 128, description: 'Name of what was backed up.' });
export const FileName = Type.String({ pattern: SAFE, maxLength: 128, description: 'A file of a snapshot.' });
export const BackupTime = Type.Integer({ minimum: 1, maximum: 253_402_300_799, description: 'Unix seconds.' });
export const UserIdText = Type.String({
  pattern: '^[^\\s:/\\u0000-\\u001f\\u007f]+@[A-Za-z0-9_][A-Za-z0-9._-]*$',
  minLength: 3,
  maxLength: 64,
  description: 'NAME@REALM.',
});
export const AuthIdText = Type.String({
  pattern: '^[^\\s:/\\u0000-\\u001f\\u007f]+@[A-Za-z0-9_][A-Za-z0-9._-]*(![A-Za-z0-9_][A-Za-z0-9._-]*)?$',
  minLength: 3,
  maxLength: 129,
  description: 'NAME@REALM, or NAME@REALM!TOKEN.',
});
export const TokenName = Type.String({ pattern: SAFE, maxLength: 64, description: 'Name of an API token.' });
export const NodeName = Type.String({
  pattern: '^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$',
  maxLength: 63,
  description: 'Name of this machine, or localhost.',
});
export const UpidText = Type.String({ minLength: 36, maxLength: 3072, description: 'A task.' });
export const Comment = Type.String({ pattern: LINE, maxLength: 128, description: 'One line.' });
export const ShortLine = Type.String({ pattern: LINE, maxLength: 64 });
export const Schedule = Type.String({
  minLength: 1,
  maxLength: 256,
  description: 'A calendar event, for example sat 18:15.',
});
export const Notes = Type.String({ maxLength: 65_536, description: 'Any text; its first line is shown in lists.' });
export const Digest = Type.String({
  pattern: '^[a-f0-9]{64}$',
  description: 'The digest that was read: the call fails when something changed since.',
});
export const Expire = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'Unix seconds; 0 for never.',
});
export const Password = Type.String({ pattern: LINE, minLength: 8, maxLength: 1024 });
const KeepCount = Type.Integer({ minimum: 1, maximum: 1_000_000 });

export const Nothing = Type.Null();

export const OfNamespace = { store: StoreName, ns: Type.Optional(NamespaceText) };
export const OfGroup = { ...OfNamespace, 'backup-type': BackupType, 'backup-id': BackupId };
export const OfSnapshot = { ...OfGroup, 'backup-time': BackupTime };
export const KeepRules = {
  'keep-last': Type.Optional(KeepCount),
  'keep-hourly': Type.Optional(KeepCount),
  'keep-daily': Type.Optional(KeepCount),
  'keep-weekly': Type.Optional(KeepCount),
  'keep-monthly': Type.Optional(KeepCount),
  'keep-yearly': Type.Optional(KeepCount),
};
export const AclPath = Type.String({
  pattern: '^/[A-Za-z0-9._/-]*$',
  maxLength: 320,
  description: 'A path of the access control list: for example /datastore/store1.',
});

/** Arguments of questions and operations: objects of JSON, as the command line has them. */
export const ArgumentNamespace = NamespaceText;
export const GroupText = Type.String({
  pattern: `^(${GROUP_TYPES.join('|')})/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`,
  description: 'TYPE/ID.',
});
export const TimeOrNull = OrNull(BackupTime);
export const SnapshotArgument = Type.Object({ ns: ArgumentNamespace, group: GroupText, time: BackupTime });
export const KeepCounts = Type.Object(
  Object.fromEntries(
    Object.keys(KeepRules).map((rule) => [rule, Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 }))]),
  ),
);
