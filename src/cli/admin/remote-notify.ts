// Notifications through a server's API, with the rights of the user or token of the address.
import { type Static, Type } from 'typebox';
import type { Matcher } from '../../notify/matcher.ts';
import type { Secrets, SmtpConfig, TargetConfig, WebhookConfig } from '../../notify/target-config.ts';
import type { CommonOptions } from '../repository.ts';
import type { NotifyAdministration } from './notify-administration.ts';
import { openLine } from './server-line.ts';

const PATH = '/config/notifications';
const LIST_PATIENCE_MS = 20_000;
/** A datastore that does not answer is given up by the server after ten minutes; what it finds later is told by mail all the same. */
const CHECK_TIMEOUT_MS = 240_000;
const text = Type.Optional(Type.String());
const texts = Type.Optional(Type.Array(Type.String()));
const flag = Type.Optional(Type.Boolean());
const Common = { name: Type.String(), comment: text, disable: flag, origin: Type.String() };
const SmtpRow = Type.Object({
  ...Common,
  server: Type.String(),
  port: Type.Optional(Type.Integer()),
  mode: Type.Union([Type.Literal('insecure'), Type.Literal('starttls'), Type.Literal('tls')]),
  username: text,
  mailto: Type.Array(Type.String()),
  'from-address': Type.String(),
  author: text,
});
const HookRow = Type.Object({
  ...Common,
  url: Type.String(),
  method: Type.Union([Type.Literal('post'), Type.Literal('put'), Type.Literal('get')]),
  header: Type.Array(Type.String()),
  body: text,
  secret: Type.Array(Type.String()),
});
const MatcherRow = Type.Object({
  ...Common,
  mode: Type.Union([Type.Literal('all'), Type.Literal('any')]),
  'match-severity': texts,
  'match-field': texts,
  'match-calendar': texts,
  target: texts,
  'invert-match': flag,
});
const Queued = Type.Object({
  id: Type.Integer(),
  target: Type.String(),
  state: Type.Union([Type.Literal('waiting'), Type.Literal('failed')]),
  severity: Type.String(),
  subject: Type.String(),
  attempts: Type.Integer(),
  added: Type.Integer(),
  next: Type.Integer(),
  error: text,
});

const Checked = Type.Object({
  alarms: Type.Array(
    Type.Object({ type: Type.String(), datastore: Type.String(), raised: Type.Integer(), text: Type.String() }),
  ),
  unknown: Type.Array(Type.String()),
});

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function remoteNotify(
  options: CommonOptions,
  repository: string,
  signal: AbortSignal,
): Promise<NotifyAdministration & { close(): Promise<void> }> {
  const { line } = await openLine(options, repository);
  const reading = { signal, patienceMs: LIST_PATIENCE_MS };
  const change = async (method: 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<void> =>
    void (await line.call(method, `${PATH}${path}`, body as never, Type.Null(), { signal, patienceMs: 0 }));
  const hooks = () => line.call('GET', `${PATH}/endpoints/webhook`, undefined, Type.Array(HookRow), reading);
  const targets = async (): Promise<readonly TargetConfig[]> => {
    const mails = await line.call('GET', `${PATH}/endpoints/smtp`, undefined, Type.Array(SmtpRow), reading);
    const found = [...mails.map(smtpOf), ...(await hooks()).map(hookOf)];
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  return {
    targets,
    secretNames: async (name) => {
      const hook = (await hooks()).find((each) => each.name === name);
      if (hook !== undefined) return hook.secret.map((each) => each.replace(/^name=/, ''));
      const mail = (await targets()).find((each) => each.name === name);
      return mail?.type === 'smtp' && mail.username !== undefined ? ['password'] : [];
    },
    addTarget: (config, secrets) => change('POST', `/endpoints/${config.type}`, bodyOf(config, secrets)),
    removeTarget: async (name) => {
      const type = (await targets()).find((each) => each.name === name)?.type ?? 'smtp';
      await change('DELETE', `/endpoints/${type}/${encodeURIComponent(name)}`);
    },
    test: (name) => change('POST', `/targets/${encodeURIComponent(name)}/test`, {}),
    matchers: async () =>
      (await line.call('GET', `${PATH}/matchers`, undefined, Type.Array(MatcherRow), reading)).map(matcherOf),
    addMatcher: ({ name, comment, enabled, mode, invert, severity, field, calendar, targets: names }) =>
      change('POST', '/matchers', {
        name,
        mode,
        disable: !enabled,
        'invert-match': invert,
        'match-severity': severity,
        'match-field': field,
        'match-calendar': calendar,
        target: names,
        ...(comment !== undefined && { comment }),
      }),
    useMatcher: (name, isUsed) => change('PUT', `/matchers/${encodeURIComponent(name)}`, { disable: !isUsed }),
    removeMatcher: (name) => change('DELETE', `/matchers/${encodeURIComponent(name)}`),
    queue: () => line.call('GET', `${PATH}/queue`, undefined, Type.Array(Queued), reading),
    check: () =>
      line.call('POST', `${PATH}/check`, {}, Checked, { signal, patienceMs: 0, timeoutMs: CHECK_TIMEOUT_MS }),
    digest: (hours) =>
      line.call('POST', `${PATH}/digest`, { hours }, Type.Array(Type.String()), { signal, patienceMs: 0 }),
    close: async () => await line.close(),
  };
}

function bodyOf(config: TargetConfig, secrets: Secrets): object {
  const { name, comment, enabled } = config;
  const common = { name, disable: !enabled, ...(comment !== undefined && { comment }) };
  if (config.type === 'smtp') {
    const { server, port, mode, username, mailto, fromAddress, author } = config;
    return { ...common, server, port, mode, username, mailto, 'from-address': fromAddress, author, ...secrets };
  }
  const named = (each: string, value: string): string => `name=${each},value=${Buffer.from(value).toString('base64')}`;
  return {
    ...common,
    url: config.url,
    method: config.method,
    header: config.headers.map((each) => named(each.name, each.value)),
    body: Buffer.from(config.body).toString('base64'),
    secret: Object.entries(secrets).map(([each, value]) => named(each, value)),
  };
}

function smtpOf({ 'from-address': fromAddress, disable, origin: _, ...row }: Static<typeof SmtpRow>): SmtpConfig {
  return { type: 'smtp', ...row, fromAddress, enabled: disable !== true };
}

function hookOf({ header, body, secret: _, disable, origin: _origin, ...row }: Static<typeof HookRow>): WebhookConfig {
  const headers = header.map((each) => {
    const [, name = '', value = ''] = /^name=([^,]*),value=(.*)$/.exec(each) ?? [];
    return { name, value: decoded(value) };
  });
  return { type: 'webhook', ...row, headers, body: decoded(body ?? ''), enabled: disable !== true };
}

function matcherOf(row: Static<typeof MatcherRow>): Matcher & { readonly origin: string } {
  return {
    name: row.name,
    comment: row.comment,
    mode: row.mode,
    origin: row.origin,
    enabled: row.disable !== true,
    invert: row['invert-match'] === true,
    severity: row['match-severity'] ?? [],
    field: row['match-field'] ?? [],
    calendar: row['match-calendar'] ?? [],
    targets: row.target ?? [],
  };
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
