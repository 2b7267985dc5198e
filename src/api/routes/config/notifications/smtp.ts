// /config/notifications/endpoints/smtp: targets that are mail servers.
import { type Static, Type } from 'typebox';
import type { Secrets, SmtpConfig } from '../../../../notify/target-config.ts';
import { Comment, Password } from '../../parameters.ts';
import { Disable, given, OriginText } from './common.ts';
import { namedMethods } from './named-methods.ts';
import { targetsOf } from './targets-of.ts';

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

const MAIL_SERVERS = targetsOf('smtp', 'mail server');

export const SMTP_METHODS = namedMethods({
  path: '/config/notifications/endpoints/smtp',
  descriptions: {
    list: 'Mail servers that notifications go to, without their passwords.',
    add: 'Makes a target of a mail server.',
    find: 'One mail server that notifications go to.',
    change: 'Changes a mail server that notifications go to; what is not named stays.',
    remove: 'Removes a mail server that notifications go to, with what waits for it.',
  },
  ...MAIL_SERVERS,
  row: Row,
  rowOf,
  made: {
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
  },
  add: (config, who, name, { server, mode, mailto, password, disable, 'from-address': fromAddress, ...rest }) => {
    const { port, username, author, comment } = rest;
    const optional = given({ port, username, author, comment });
    config.addTarget(
      who,
      { type: 'smtp', name, server, mode, mailto, fromAddress, enabled: !disable, ...optional },
      given({ password }) as Secrets,
    );
  },
  changed: {
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
  },
  deletable: ['port', 'username', 'password', 'author', 'comment', 'disable'],
  change: (config, who, name, { password, disable, 'from-address': fromAddress, ...rest }, deleted) => {
    const { server, port, mode, username, mailto, author, comment } = rest;
    config.updateTarget(who, name, (before, secrets) => {
      const fields: Record<string, unknown> = { ...MAIL_SERVERS.require(before) };
      const kept: Record<string, string> = { ...secrets, ...given({ password }) };
      for (const field of deleted) {
        if (field === 'password') delete kept.password;
        else if (field === 'disable') fields.enabled = true;
        else delete fields[field];
      }
      const changes = given({ server, port, mode, username, mailto, author, comment, fromAddress });
      const enabled = disable === undefined ? {} : { enabled: !disable };
      return { config: { ...fields, ...changes, ...enabled } as unknown as SmtpConfig, secrets: kept };
    });
  },
});
