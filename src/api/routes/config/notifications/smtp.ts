// /config/notifications/endpoints/smtp: targets that are mail servers.
import { type Static, Type } from 'typebox';
import type { Secrets, SmtpConfig, TargetConfig } from '../../../../notify/target-config.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { type Call, defineMethod } from '../../../method.ts';
import { actorOf } from '../../actor.ts';
import { Comment, Digest, Nothing, Password } from '../../parameters.ts';
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

const PATH = '/config/notifications/endpoints/smtp';
const Line = Type.String({ pattern: '^[^\\u0000-\\u001f\\u007f]*$', maxLength: 512 });
const Port = Type.Integer({ minimum: 1, maximum: 65_535, description: 'Without it 465, 587 or 25 by the mode.' });
const Mode = Type.Enum(['insecure', 'starttls', 'tls']);
const Mailto = Type.Array(Line, { maxItems: 50, description: 'Addresses that mail goes to.' });
const Row = Type.Object({
  name: Type.String(),
  server: Type.String(),
  port: Type.Optional(Type.Integer()),
  mode: Mode,
  username: Type.Optional(Type.String()),
  mailto: Type.Array(Type.String()),
  'from-address': Type.String(),
  author: Type.Optional(Type.String()),
  comment: Type.Optional(Type.String()),
  disable: Type.Optional(Type.Boolean()),
  origin: OriginText,
});
const MailPassword = Type.String({ ...Password, minLength: 1, description: 'Of the user; nothing shows it again.' });

function rowOf(config: SmtpConfig): Static<typeof Row> {
  const { name, server, port, mode, username, mailto, fromAddress, author, comment, enabled } = config;
  const optional = given({ port, username, author, comment, ...(!enabled && { disable: true }) });
  return { name, server, mode, mailto: [...mailto], 'from-address': fromAddress, ...optional, origin: 'user-created' };
}

function find({ services }: Call, name: string): SmtpConfig {
  return requireSmtp(services.notifications.config.target(name));
}

function requireSmtp(config: TargetConfig): SmtpConfig {
  if (config.type === 'smtp') return config;
  throw new HoldfastError('not-found', `target ${config.name} is no mail server`);
}

export const SMTP_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'Mail servers that notifications go to, without their passwords.',
    access: MAY_LOOK,
    parameters: Type.Object({}),
    returns: Type.Array(Row),
    handler: (call) => {
      call.attach('digest', configDigest(call));
      return call.services.notifications.config
        .targets()
        .flatMap((each) => (each.type === 'smtp' ? [rowOf(each)] : []));
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a target of a mail server.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      server: Line,
      port: Type.Optional(Port),
      mode: Type.Enum(['insecure', 'starttls', 'tls'], { default: 'tls' }),
      username: Type.Optional(Line),
      password: Type.Optional(MailPassword),
      mailto: Mailto,
      'from-address': Line,
      author: Type.Optional(Line),
      comment: Type.Optional(Comment),
      disable: Disable,
    }),
    returns: Nothing,
    handler: (call, { name, server, mode, mailto, password, disable, 'from-address': fromAddress, ...rest }) => {
      const { port, username, author, comment } = rest;
      const optional = given({ port, username, author, comment });
      call.services.notifications.config.addTarget(
        actorOf(call),
        { type: 'smtp', name, server, mode, mailto, fromAddress, enabled: !disable, ...optional },
        given({ password }) as Secrets,
      );
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: `${PATH}/{name}`,
    description: 'One mail server that notifications go to.',
    access: MAY_LOOK,
    parameters: Type.Object({ name: NotificationName }),
    returns: Row,
    handler: (call, { name }) => {
      const row = rowOf(find(call, name));
      call.attach('digest', configDigest(call));
      return row;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: `${PATH}/{name}`,
    description: 'Changes a mail server that notifications go to; what is not named stays.',
    access: MAY_CHANGE,
    parameters: Type.Object({
      name: NotificationName,
      server: Type.Optional(Line),
      port: Type.Optional(Port),
      mode: Type.Optional(Mode),
      username: Type.Optional(Line),
      password: Type.Optional(MailPassword),
      mailto: Type.Optional(Mailto),
      'from-address': Type.Optional(Line),
      author: Type.Optional(Line),
      comment: Type.Optional(Comment),
      disable: Type.Optional(Type.Boolean()),
      delete: Type.Optional(
        Type.Array(Type.Enum(['port', 'username', 'password', 'author', 'comment', 'disable']), { maxItems: 16 }),
      ),
      digest: Type.Optional(Digest),
    }),
    returns: Nothing,
    handler: (
      call,
      { name, password, disable, digest, delete: removed = [], 'from-address': fromAddress, ...rest },
    ) => {
      requireAsRead(call, digest);
      const { server, port, mode, username, mailto, author, comment } = rest;
      call.services.notifications.config.updateTarget(actorOf(call), name, (before, secrets) => {
        const config: Record<string, unknown> = { ...requireSmtp(before) };
        const kept: Record<string, string> = { ...secrets, ...given({ password }) };
        for (const field of removed) {
          if (field === 'password') delete kept.password;
          else if (field === 'disable') config.enabled = true;
          else delete config[field];
        }
        const changes = given({ server, port, mode, username, mailto, author, comment, fromAddress });
        const enabled = disable === undefined ? {} : { enabled: !disable };
        return { config: { ...config, ...changes, ...enabled } as unknown as SmtpConfig, secrets: kept };
      });
      return null;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: `${PATH}/{name}`,
    description: 'Removes a mail server that notifications go to, with what waits for it.',
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
