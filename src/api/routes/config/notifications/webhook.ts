// /config/notifications/endpoints/webhook: targets that are called over HTTP. Bodies, headers and secrets are base64, as Proxmox has them; of secrets only names are shown.
import { type Static, Type } from 'typebox';
import type { TargetConfig, WebhookConfig } from '../../../../notify/target-config.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { type Call, defineMethod } from '../../../method.ts';
import { actorOf } from '../../actor.ts';
import { Comment, Digest, Nothing } from '../../parameters.ts';
import {
  configDigest,
  Disable,
  fromBase64,
  given,
  MAY_CHANGE,
  MAY_LOOK,
  NotificationName,
  OriginText,
  parseNamed,
  requireAsRead,
  toBase64,
} from './common.ts';

const PATH = '/config/notifications/endpoints/webhook';
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

function rowOf({ services }: Call, config: WebhookConfig): Static<typeof Row> {
  const { name, url, method, headers, body, comment, enabled } = config;
  return {
    name,
    url,
    method,
    header: headers.map((each) => `name=${each.name},value=${toBase64(each.value)}`),
    secret: services.notifications.config.secretNames(name).map((each) => `name=${each}`),
    ...given({ body: body === '' ? undefined : toBase64(body), comment, ...(!enabled && { disable: true }) }),
    origin: 'user-created',
  };
}

function requireWebhook(config: TargetConfig): WebhookConfig {
  if (config.type === 'webhook') return config;
  throw new HoldfastError('not-found', `target ${config.name} is no webhook`);
}

function find({ services }: Call, name: string): WebhookConfig {
  return requireWebhook(services.notifications.config.target(name));
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

export const WEBHOOK_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'Webhooks that notifications go to, with the names of their secrets.',
    access: MAY_LOOK,
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: (call) => {
      call.attach('digest', configDigest(call));
      const targets = call.services.notifications.config.targets();
      return targets.flatMap((each) => (each.type === 'webhook' ? [rowOf(call, each)] : []));
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a target of a webhook.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      url: Url,
      method: Type.Enum(['post', 'put', 'get'], { default: 'post' }),
      header: Type.Optional(Named),
      body: Type.Optional(Body),
      secret: Type.Optional(Named),
      comment: Type.Optional(Comment),
      disable: Disable,
    }),
    returns: Nothing,
    handler: (call, { name, url, method, header = [], body = '', secret = [], comment, disable }) => {
      call.services.notifications.config.addTarget(
        actorOf(call),
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
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One webhook that notifications go to.',
    access: MAY_LOOK,
    parameters: Type.Object({ name: NotificationName }),
    returns: Row,
    handler: (call, { name }) => {
      const row = rowOf(call, find(call, name));
      call.attach('digest', configDigest(call));
      return row;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${PATH}/{name}`,
    description:
      'Changes a webhook; what is not named stays. Secrets are replaced all at once: one without a value stays.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      url: Type.Optional(Url),
      method: Type.Optional(Method),
      header: Type.Optional(Named),
      body: Type.Optional(Body),
      secret: Type.Optional(Named),
      comment: Type.Optional(Comment),
      disable: Type.Optional(Type.Boolean()),
      delete: Type.Optional(
        Type.Array(Type.Enum(['comment', 'disable', 'header', 'body', 'secret']), { maxItems: 16 }),
      ),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: (call, { name, url, method, header, body, secret, comment, disable, digest, delete: removed = [] }) => {
      requireAsRead(call, digest);
      call.services.notifications.config.updateTarget(actorOf(call), name, (before, secrets) => {
        const { comment: old, ...config } = requireWebhook(before);
        const takes = (field: (typeof removed)[number]): boolean => removed.includes(field);
        const text = comment ?? (takes('comment') ? undefined : old);
        const headers = header?.map(parseNamed) ?? (takes('header') ? [] : undefined);
        const shown = body === undefined ? (takes('body') ? '' : undefined) : fromBase64(body);
        const enabled = disable === undefined ? (takes('disable') ? true : undefined) : !disable;
        return {
          config: {
            ...config,
            ...given({ url, method, headers, body: shown, enabled, comment: text }),
          } as WebhookConfig,
          secrets: secret === undefined ? (takes('secret') ? {} : secrets) : parseSecrets(secret, secrets),
        };
      });
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{name}`,
    description: 'Removes a webhook, with what waits for it.',
    access: MAY_CHANGE,
    parameters: Type.Object({ name: NotificationName }),
    returns: Nothing,
    handler: (call, { name }) => {
      find(call, name);
      call.services.notifications.config.removeTarget(actorOf(call), name);
      return null;
    },
  }),
];
