// /config/notifications/matchers: which notifications go to which targets.
import { type Static, Type } from 'typebox';
import type { Matcher } from '../../../../notify/matcher.ts';
import type { Origin } from '../../../../notify/notify-config.ts';
import { Comment } from '../../parameters.ts';
import { Disable, given, OriginText } from './common.ts';
import { namedMethods } from './named-methods.ts';

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

const NONE = { enabled: true, mode: 'all', invert: false, severity: [], field: [], calendar: [], targets: [] } as const;

export const MATCHER_METHODS = namedMethods({
  path: '/config/notifications/matchers',
  descriptions: {
    list: 'Which notifications go to which targets.',
    add: 'Makes a matcher.',
    find: 'One matcher.',
    change: 'Changes a matcher; what is not named stays.',
    remove: 'Removes a matcher; of the one that is there by itself what was changed.',
  },
  list: (config) => config.matchers(),
  find: (config, name) => config.matcher(name),
  remove: (config, who, name) => config.removeMatcher(who, name),
  row: Row,
  rowOf,
  made: {
    ...Rules,
    mode: Type.Enum(['all', 'any'], { default: 'all' }),
    'invert-match': Type.Boolean({ default: false, description: 'It takes what the rules do not.' }),
    disable: Disable,
  },
  add: (config, who, name, asked) => config.addMatcher(who, { ...NONE, ...changesOf(asked), name }),
  changed: {
    ...Rules,
    mode: Type.Optional(Mode),
    'invert-match': Type.Optional(Type.Boolean()),
    disable: Type.Optional(Type.Boolean()),
  },
  deletable: DELETABLE,
  change: (config, who, name, asked, deleted) => {
    const emptied = Object.assign({}, ...deleted.map((field) => EMPTY[field])) as Partial<Matcher>;
    config.updateMatcher(who, name, (before) => ({ ...before, ...emptied, ...changesOf(asked) }));
  },
});
