// The five methods of whatever is set up under a name here: its list, a new one, one of them, a change, its removal. Digests, privileges and the
// place of each parameter are the same for all kinds.
import { type Static, type TObject, type TProperties, type TSchema, Type } from 'typebox';
import type { Actor } from '../../../../auth/audit-log.ts';
import type { NotifyConfig } from '../../../../notify/notify-config.ts';
import { type AnyMethod, defineMethod } from '../../../method.ts';
import { actorOf } from '../../actor.ts';
import { Digest, Nothing } from '../../parameters.ts';
import { configDigest, MAY_CHANGE, MAY_LOOK, NotificationName, requireAsRead } from './common.ts';

/** What a kind keeps, and how. */
export interface Kept<Thing> {
  list(config: NotifyConfig): readonly Thing[];
  /** @throws `not-found`. */
  find(config: NotifyConfig, name: string): Thing;
  /** @throws `not-found`, `bad-argument`. */
  remove(config: NotifyConfig, who: Actor, name: string): void;
}

export interface NamedKind<
  Thing,
  Row extends TSchema,
  Made extends TProperties,
  Changed extends TProperties,
  Field extends string,
> extends Kept<Thing> {
  readonly path: string;
  readonly descriptions: Readonly<Record<'list' | 'add' | 'find' | 'change' | 'remove', string>>;
  readonly row: Row;
  rowOf(thing: Thing, config: NotifyConfig): Static<Row>;
  /** Parameters of a new one, besides its name. */
  readonly made: Made;
  add(config: NotifyConfig, who: Actor, name: string, asked: Static<TObject<Made>>): void;
  /** Parameters of a change, besides the name, what is deleted, and the digest. */
  readonly changed: Changed;
  /** What a change can delete. */
  readonly deletable: readonly Field[];
  change(
    config: NotifyConfig,
    who: Actor,
    name: string,
    asked: Static<TObject<Changed>>,
    deleted: readonly Field[],
  ): void;
}

export function namedMethods<
  Thing,
  Row extends TSchema,
  Made extends TProperties,
  Changed extends TProperties,
  Field extends string,
>(kind: NamedKind<Thing, Row, Made, Changed, Field>): readonly AnyMethod[] {
  const { path, descriptions, row } = kind;
  const onePath = `${path}/{name}`;
  const OnlyName = Type.Object({ name: NotificationName });
  const Deleted = Type.Optional(Type.Array(Type.Enum([...kind.deletable]), { maxItems: 16 }));
  return [
    defineMethod({
      method: 'GET',
      path,
      description: descriptions.list,
      access: MAY_LOOK,
      parameters: Type.Object({}),
      returns: Type.Array(row),
      handler: (call) => {
        const { config } = call.services.notifications;
        call.attach('digest', configDigest(call));
        return kind.list(config).map((each) => kind.rowOf(each, config));
      },
    }),
    defineMethod({
      method: 'POST',
      path,
      description: descriptions.add,
      access: MAY_CHANGE,
      parameters: Type.Object({ name: NotificationName, ...kind.made }),
      returns: Nothing,
      handler: (call, parameters) => {
        const { name, ...asked } = parameters as { name: string } & Static<TObject<Made>>;
        kind.add(call.services.notifications.config, actorOf(call), name, asked as Static<TObject<Made>>);
        return null;
      },
    }),
    defineMethod({
      method: 'GET',
      path: onePath,
      description: descriptions.find,
      access: MAY_LOOK,
      parameters: OnlyName,
      returns: row,
      handler: (call, { name }) => {
        const { config } = call.services.notifications;
        const found = kind.rowOf(kind.find(config, name), config);
        call.attach('digest', configDigest(call));
        return found;
      },
    }),
    defineMethod({
      method: 'PUT',
      path: onePath,
      description: descriptions.change,
      access: MAY_CHANGE,
      parameters: Type.Object({
        name: NotificationName,
        ...kind.changed,
        delete: Deleted,
        digest: Type.Optional(Digest),
      }),
      returns: Nothing,
      handler: (call, parameters) => {
        const { name, delete: deleted = [], digest, ...asked } = parameters as Naming<Field>;
        requireAsRead(call, digest);
        const { config } = call.services.notifications;
        kind.change(config, actorOf(call), name, asked as Static<TObject<Changed>>, deleted);
        return null;
      },
    }),
    defineMethod({
      method: 'DELETE',
      path: onePath,
      description: descriptions.remove,
      access: MAY_CHANGE,
      parameters: OnlyName,
      returns: Nothing,
      handler: (call, { name }) => {
        kind.remove(call.services.notifications.config, actorOf(call), name);
        return null;
      },
    }),
  ];
}

/** What every change names besides the fields of its kind. */
interface Naming<Field extends string> {
  readonly name: string;
  readonly delete?: readonly Field[];
  readonly digest?: string;
}
