// /config/notifications/matchers: which notifications go to which targets.
import { type Static, Type } from 'typebox';
import type { Matcher } from '../../../../notify/matcher.ts';
import type { Origin } from '../../../../notify/notify-config.ts';
import { defineMethod } from '../../../method.ts';
import { actorOf } from '../../actor.ts';
import { Comment, Digest, Nothing } from '../../parameters.ts';
import {
  configDigest,
  Disable,
  given,
  MAY_CHANGE,
  MAY_LOOK,
  NotificationName,
  OriginText,
  requireAsRead,
} from './common.ts';

const PATH = '/config/notifications/matchers';
const Texts = Type.Array(Type.String({ maxLength: 512 }), { maxItems: 16 });
const Targets = Type.Array(Type.String({ maxLength: 32 }), { maxItems: 32 });
const Mode = Type.Enum(['all', 'any']);
const Rules = {
  'match-severity': Type.Optional(Texts),
  'match-field': Type.Optional(Texts),
  'match-calendar': Type.Optional(Texts),
  target: Type.Optional(Targets),
  comment: Type.Optional(Comment),
};
const Row = Type.Object({
  name: Type.String(),
  mode: Mode,
  ...Rules,
  comment: Type.Optional(Type.String()),
  'invert-match': Type.Optional(Type.Boolean()),
  disable: Type.Optional(Type.Boolean()),
  origin: OriginText,
});
const DELETABLE = [
  'match-severity',
  'match-field',
  'match-calendar',
  'target',
  'comment',
  'invert-match',
  'mode',
  'disable',
] as const;
const EMPTY: Readonly<Record<(typeof DELETABLE)[number], Partial<Matcher>>> = {
  'match-severity': { severity: [] },
  'match-field': { field: [] },
  'match-calendar': { calendar: [] },
  target: { targets: [] },
  comment: { comment: undefined },
  'invert-match': { invert: false },
  mode: { mode: 'all' },
  disable: { enabled: true },
};

interface Given {
  readonly 'match-severity'?: string[];
  readonly 'match-field'?: string[];
  readonly 'match-calendar'?: string[];
  readonly target?: string[];
  readonly comment?: string;
  readonly 'invert-match'?: boolean;
  readonly mode?: 'all' | 'any';
  readonly disable?: boolean;
}

function changesOf(asked: Given): Partial<Matcher> {
  return given({
    severity: asked['match-severity'],
    field: asked['match-field'],
    calendar: asked['match-calendar'],
    targets: asked.target,
    comment: asked.comment,
    invert: asked['invert-match'],
    mode: asked.mode,
    enabled: asked.disable === undefined ? undefined : !asked.disable,
  }) as Partial<Matcher>;
}

function rowOf(matcher: Matcher & { readonly origin: Origin }): Static<typeof Row> {
  const { name, mode, origin, severity, field, calendar, targets, comment, invert, enabled } = matcher;
  const some = (texts: readonly string[]): string[] | undefined => (texts.length === 0 ? undefined : [...texts]);
  return {
    name,
    mode,
    origin,
    ...given({
      'match-severity': some(severity),
      'match-field': some(field),
      'match-calendar': some(calendar),
      target: some(targets),
      comment,
    }),
    ...(invert && { 'invert-match': true }),
    ...(!enabled && { disable: true }),
  };
}

export const MATCHER_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'Which notifications go to which targets.',
    access: MAY_LOOK,
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: (call) => {
      call.attach('digest', configDigest(call));
      return call.services.notifications.config.matchers().map(rowOf);
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a matcher.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      ...Rules,
      mode: Type.Enum(['all', 'any'], { default: 'all' }),
      'invert-match': Type.Boolean({ default: false, description: 'It takes what the rules do not.' }),
      disable: Disable,
    }),
    returns: Nothing,
    handler: (call, { name, ...asked }) => {
      const none = {
        enabled: true,
        mode: 'all' as const,
        invert: false,
        severity: [],
        field: [],
        calendar: [],
        targets: [],
      };
      call.services.notifications.config.addMatcher(actorOf(call), { ...none, ...changesOf(asked as Given), name });
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One matcher.',
    access: MAY_LOOK,
    parameters: Type.Object({ name: NotificationName }),
    returns: Row,
    handler: (call, { name }) => {
      const row = rowOf(call.services.notifications.config.matcher(name));
      call.attach('digest', configDigest(call));
      return row;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${PATH}/{name}`,
    description: 'Changes a matcher; what is not named stays.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      ...Rules,
      mode: Type.Optional(Mode),
      'invert-match': Type.Optional(Type.Boolean()),
      disable: Type.Optional(Type.Boolean()),
      delete: Type.Optional(Type.Array(Type.Enum([...DELETABLE]), { maxItems: 16 })),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: (call, { name, digest, delete: removed = [], ...asked }) => {
      requireAsRead(call, digest);
      const emptied = Object.assign({}, ...removed.map((field) => EMPTY[field])) as Partial<Matcher>;
      call.services.notifications.config.updateMatcher(actorOf(call), name, (before) => ({
        ...before,
        ...emptied,
        ...changesOf(asked as Given),
      }));
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{name}`,
    description: 'Removes a matcher; of the one that is there by itself what was changed.',
    access: MAY_CHANGE,
    parameters: Type.Object({ name: NotificationName }),
    returns: Nothing,
    handler: (call, { name }) => {
      call.services.notifications.config.removeMatcher(actorOf(call), name);
      return null;
    },
  }),
];
