// What all methods of notifications share: who may call them, digests, names, and texts as Proxmox encodes them.
import { Type } from 'typebox';
import { digestOf, requireDigest } from '../../../../auth/config-digest.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import type { Call, PrivilegeRule } from '../../../method.ts';

const rule = (privilege: 'Sys.Audit' | 'Sys.Modify') => ({
  onPath: (): PrivilegeRule => ({ path: '/system/notifications', anyOf: [privilege] }),
});
export const MAY_LOOK = rule('Sys.Audit');
export const MAY_CHANGE = rule('Sys.Modify');

export const NotificationName = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$',
  minLength: 2,
  maxLength: 32,
  description: 'Name of a target or a matcher.',
});
export const Disable = Type.Boolean({ default: false, description: 'It is kept, and not used.' });
export const OriginText = Type.Enum(['user-created', 'builtin', 'modified-builtin']);

/** Of everything that is set up, without secrets. */
export function configDigest({ services }: Call): string {
  const { config } = services.notifications;
  return digestOf({ targets: config.targets(), matchers: config.matchers() });
}

/** @throws HoldfastError `bad-argument` when somebody changed something since. */
export function requireAsRead(call: Call, digest: string | undefined): void {
  requireDigest(digest, () => configDigest(call));
}

/** What was given of some fields. */
export function given<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };
}

/** Reads `name=NAME,value=BASE64`. @throws `bad-argument`. */
export function parseNamed(text: string): { name: string; value: string } {
  const parts = new Map(
    text.split(',').map((part): [string, string] => {
      const at = part.indexOf('=');
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
  const [name, value] = [parts.get('name'), parts.get('value')];
  if (name === undefined || value === undefined || parts.size !== 2)
    throw new HoldfastError('bad-argument', 'a header or a secret is written as name=NAME,value=BASE64');
  return { name, value: fromBase64(value) };
}

/** @throws `bad-argument`. */
export function fromBase64(text: string): string {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new HoldfastError('bad-argument', 'this is no base64');
  return Buffer.from(text, 'base64').toString('utf8');
}

export function toBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
