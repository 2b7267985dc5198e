// /config/notifications/targets: all targets of whatever kind, a test of one, and what waits to be sent (ours alone).
import { type Static, Type } from 'typebox';
import type { TargetConfig } from '../../../../notify/target-config.ts';
import { defineMethod } from '../../../method.ts';
import { Nothing } from '../../parameters.ts';
import { given, MAY_CHANGE, MAY_LOOK, NotificationName, OriginText } from './common.ts';

const PATH = '/config/notifications/targets';
const Row = Type.Object({
  name: Type.String(),
  type: Type.Enum(['smtp', 'webhook']),
  comment: Type.Optional(Type.String()),
  disable: Type.Optional(Type.Boolean()),
  origin: OriginText,
});
const Waiting = Type.Object({
  id: Type.Integer(),
  target: Type.String(),
  state: Type.Enum(['waiting', 'failed']),
  severity: Type.String(),
  subject: Type.String(),
  attempts: Type.Integer(),
  added: Type.Integer({ description: 'Unix seconds.' }),
  next: Type.Integer({ description: 'Unix seconds of the next attempt.' }),
  error: Type.Optional(Type.String()),
});

function rowOf({ name, type, comment, enabled }: TargetConfig): Static<typeof Row> {
  return { name, type, ...given({ comment, ...(!enabled && { disable: true }) }), origin: 'user-created' };
}

export const NOTIFICATION_TARGET_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'All targets of notifications.',
    access: MAY_LOOK,
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: ({ services }) => services.notifications.config.targets().map(rowOf),
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One target of notifications.',
    access: MAY_LOOK,
    parameters: Type.Object({ name: NotificationName }),
    returns: Row,
    handler: ({ services }, { name }) => rowOf(services.notifications.config.target(name)),
  }),
  defineMethod({
    method: 'POST',
    path: `${PATH}/{name}/test`,
    description: 'Sends a test to a target at once; answers when it was taken, or why not.',
    access: MAY_CHANGE,
    parameters: Type.Object({ name: NotificationName }),
    returns: Nothing,
    handler: async ({ services, signal }, { name }) => {
      await services.notifications.test(name, AbortSignal.any([signal, AbortSignal.timeout(60_000)]));
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/config/notifications/queue',
    description: 'What waits to be sent, and what was given up; the newest first.',
    access: MAY_LOOK,
    parameters: Type.Object({}),
    returns: Type.Array(Waiting),
    handler: ({ services }) =>
      services.notifications.waiting().map(({ id, target, state, event, attempts, addedMs, nextMs, error }) => ({
        id,
        target,
        state,
        severity: event.severity,
        subject: event.subject,
        attempts,
        added: Math.floor(addedMs / 1000),
        next: Math.floor(nextMs / 1000),
        ...given({ error }),
      })),
  }),
];
