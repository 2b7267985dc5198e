// /config/notifications/endpoints/webhook: targets that are called over HTTP. Bodies, headers and secrets are base64, as Proxmox has them; of secrets only names are shown.
import { type Static, Type } from 'typebox';
import type { NotifyConfig } from '../../../../notify/notify-config.ts';
import type { WebhookConfig } from '../../../../notify/target-config.ts';
import { Comment } from '../../parameters.ts';
import { Disable, fromBase64, given, OriginText, parseNamed, toBase64 } from './common.ts';
import { namedMethods } from './named-methods.ts';
import { targetsOf } from './targets-of.ts';

const Url = Type.String({ maxLength: 1024, description: 'A template.' });
const Method = Type.Enum(['post', 'put', 'get']);
const Named = Type.Array(Type.String({ maxLength: 8192, description: 'name=NAME,value=BASE64' }), { maxItems: 32 });
const Body = Type.String({ maxLength: 32_768, description: 'A template, as base64.' });
const Row = Type.Object({
  name: Type.String(),
  url: Type.String(),
  method: Method,
  header: Type.Array(Type.String()),
  body: Type.Optional(Type.String()),
  secret: Type.Array(Type.String({ description: 'name=NAME' })),
  comment: Type.Optional(Type.String()),
  disable: Type.Optional(Type.Boolean()),
  origin: OriginText,
});

function rowOf(target: WebhookConfig, config: NotifyConfig): Static<typeof Row> {
  const { name, url, method, headers, body, comment, enabled } = target;
  return {
    name,
    url,
    method,
    header: headers.map((each) => `name=${each.name},value=${toBase64(each.value)}`),
    secret: config.secretNames(name).map((each) => `name=${each}`),
    ...given({ body: body === '' ? undefined : toBase64(body), comment, ...(!enabled && { disable: true }) }),
    origin: 'user-created',
  };
}

/** A secret without a value keeps the one that it has. @throws `bad-argument`. */
function parseSecrets(texts: readonly string[], before: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    texts.map((text): [string, string] => {
      const [, kept] = /^name=([^,]+)$/.exec(text) ?? [];
      if (kept !== undefined && Object.hasOwn(before, kept)) return [kept, before[kept] ?? ''];
      const { name, value } = parseNamed(text);
      return [name, value];
    }),
  );
}

const WEBHOOKS = targetsOf('webhook', 'webhook');

export const WEBHOOK_METHODS = namedMethods({
  path: '/config/notifications/endpoints/webhook',
  descriptions: {
    list: 'Webhooks that notifications go to, with the names of their secrets.',
    add: 'Makes a target of a webhook.',
    find: 'One webhook that notifications go to.',
    change: 'Changes a webhook; what is not named stays. Secrets are replaced all at once: one without a value stays.',
    remove: 'Removes a webhook, with what waits for it.',
  },
  ...WEBHOOKS,
  row: Row,
  rowOf,
  made: {
    url: Url,
    method: Type.Enum(['post', 'put', 'get'], { default: 'post' }),
    header: Type.Optional(Named),
    body: Type.Optional(Body),
    secret: Type.Optional(Named),
    comment: Type.Optional(Comment),
    disable: Disable,
  },
  add: (config, who, name, { url, method, header = [], body = '', secret = [], comment, disable }) => {
    config.addTarget(
      who,
      {
        type: 'webhook',
        name,
        url,
        method,
        headers: header.map(parseNamed),
        body: fromBase64(body),
        enabled: !disable,
        ...(comment !== undefined && { comment }),
      },
      parseSecrets(secret, {}),
    );
  },
  changed: {
    url: Type.Optional(Url),
    method: Type.Optional(Method),
    header: Type.Optional(Named),
    body: Type.Optional(Body),
    secret: Type.Optional(Named),
    comment: Type.Optional(Comment),
    disable: Type.Optional(Type.Boolean()),
  },
  deletable: ['comment', 'disable', 'header', 'body', 'secret'],
  change: (config, who, name, { url, method, header, body, secret, comment, disable }, deleted) => {
    config.updateTarget(who, name, (before, secrets) => {
      const { comment: old, ...fields } = WEBHOOKS.require(before);
      const takes = (field: (typeof deleted)[number]): boolean => deleted.includes(field);
      const text = comment ?? (takes('comment') ? undefined : old);
      const headers = header?.map(parseNamed) ?? (takes('header') ? [] : undefined);
      const shown = body === undefined ? (takes('body') ? '' : undefined) : fromBase64(body);
      const enabled = disable === undefined ? (takes('disable') ? true : undefined) : !disable;
      return {
        config: { ...fields, ...given({ url, method, headers, body: shown, enabled, comment: text }) } as WebhookConfig,
        secrets: secret === undefined ? (takes('secret') ? {} : secrets) : parseSecrets(secret, secrets),
      };
    });
  },
});
