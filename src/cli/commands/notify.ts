// holdfast notify: where a server sends notifications, which go where, what waits, and what is told of by itself.
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { SmtpMode, TargetConfig, WebhookConfig } from '../../notify/target-config.ts';
import { PRESETS, type Preset, presetOf } from '../../notify/targets/presets.ts';
import { formatTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { administerNotify } from '../admin/administer.ts';
import { newPassword, PASSWORD_FILE_OPTION } from '../admin/new-password.ts';
import { STATE_DIR_OPTION, type StateOptions, withServerState } from '../admin/server-state.ts';
import { pairs, print, table } from '../output.ts';
import { wholeNumber } from '../whole-number.ts';

const MOST_HOURS = 168;

interface TargetOptions extends StateOptions {
  readonly comment?: string;
  readonly disable?: boolean;
}

const several = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addNotifyCommands(program: Command): void {
  const notify = program.command('notify').description('notifications of a server: mail and webhooks');
  const target = notify.command('target').description('where notifications go');
  const matcher = notify.command('matcher').description('which notifications go where');
  const command = (parent: Command, name: string, description: string): Command =>
    parent
      .command(name)
      .description(description)
      .option(...STATE_DIR_OPTION);
  const adding = (name: string, description: string): Command =>
    command(target, name, description)
      .argument('<NAME>')
      .option('--comment <TEXT>')
      .option('--disable', 'keep it, and send nothing there');

  adding('add-smtp', 'send mail through a server')
    .requiredOption('--server <HOST>')
    .option('--port <N>', 'without it 465, 587 or 25 by --tls')
    .addOption(
      new Option('--tls <HOW>', 'how the line is protected').choices(['none', 'starttls', 'tls']).default('tls'),
    )
    .option('--username <NAME>', 'to sign in with; its password is asked for')
    .option(...PASSWORD_FILE_OPTION)
    .requiredOption('--from <ADDRESS>')
    .requiredOption('--mailto <ADDRESS>', 'who gets it; may be given several times', several)
    .option('--author <TEXT>', 'shown as who sent it')
    .action(async (name: string, _, each: Command) => await addSmtp(name, each.optsWithGlobals()));
  adding('add-webhook', 'call a URL')
    .requiredOption('--url <URL>', 'a template, as are headers and body')
    .addOption(new Option('--preset <SERVICE>', 'method, headers and body of a service').choices(PRESETS))
    .addOption(new Option('--method <METHOD>').choices(['post', 'put', 'get']).default('post'))
    .option('--header <NAME: VALUE>', 'may be given several times', several)
    .option('--body <TEMPLATE>', 'such as {"text": {{json message}}}')
    .option(
      '--secret-file <NAME=FILE>',
      'a secret for {{secrets.NAME}}, such as token=FILE; may be given several times',
      several,
    )
    .action(async (name: string, _, each: Command) => await addWebhook(name, each.optsWithGlobals()));
  command(target, 'list', 'all targets').action(async (_, each: Command) => await listTargets(each.optsWithGlobals()));
  command(target, 'show', 'one target; of secrets the names')
    .argument('<NAME>')
    .action(async (name: string, _, each: Command) => await showTarget(name, each.optsWithGlobals()));
  command(target, 'remove', 'remove a target, with what waits for it')
    .argument('<NAME>')
    .action(async (name: string, _, each: Command) => await removeTarget(name, each.optsWithGlobals()));
  command(target, 'test', 'send a test at once, and say how it went')
    .argument('<NAME>')
    .action(async (name: string, _, each: Command) => await testTarget(name, each.optsWithGlobals()));

  command(matcher, 'add', 'send what matches to targets')
    .argument('<NAME>')
    .requiredOption('--target <NAME>', 'may be given several times', several)
    .option('--match-severity <LIST>', 'such as warning,error; may be given several times', several)
    .option('--match-field <RULE>', 'exact:type=gc,prune or regex:datastore=^main; may be given several times', several)
    .option('--match-calendar <HOURS>', 'such as mon..fri 8-17; may be given several times', several)
    .addOption(new Option('--mode <MODE>', 'whether all rules must hold').choices(['all', 'any']).default('all'))
    .option('--invert-match', 'take what the rules do not')
    .option('--disable', 'keep it, and do not use it')
    .option('--comment <TEXT>')
    .action(async (name: string, _, each: Command) => await addMatcher(name, each.optsWithGlobals()));
  command(matcher, 'list', 'all matchers').action(
    async (_, each: Command) => await listMatchers(each.optsWithGlobals()),
  );
  for (const [word, isUsed, description] of [
    ['enable', true, 'use a matcher again'],
    ['disable', false, 'keep a matcher, and do not use it; also default-matcher'],
  ] as const)
    command(matcher, word, description)
      .argument('<NAME>')
      .action(async (name: string, _, each: Command) => await useMatcher(name, isUsed, each.optsWithGlobals()));
  command(matcher, 'remove', 'remove a matcher; of default-matcher what was changed')
    .argument('<NAME>')
    .action(async (name: string, _, each: Command) => await removeMatcher(name, each.optsWithGlobals()));

  command(notify, 'queue', 'what waits to be sent, and what was given up').action(
    async (_, each: Command) => await listQueue(each.optsWithGlobals()),
  );
  command(notify, 'check', 'look now what has not happened, as the server does each hour; lists raised alarms').action(
    async (_, each: Command) => await checkAlarms(each.optsWithGlobals()),
  );
  command(notify, 'digest', 'send the digest now; the daily one comes as if this one had not been')
    .option('--hours <N>', `of what ended in so many hours, ${MOST_HOURS} at most`, '24')
    .action(async (_, each: Command) => await sendDigest(each.optsWithGlobals()));
  command(
    notify,
    'alarms',
    'when alarms are raised on what did not happen, and the hour of the digest; on the machine of the server',
  )
    .option('--backup-hours <N>', 'a guest has had no good backup for so long; 0 for never')
    .option('--full-days <N>', 'a datastore will be full in so many days; 0 for never')
    .option('--verify-days <N>', 'snapshots were not verified for so long; 0 for never')
    .option('--job-hours <N>', 'a job has not run well so long after its second time in a row; 0 for never')
    .option('--digest-at <HH:MM>', 'when the digest of the night is sent, local time, or off')
    .action(async (_, each: Command) => await settings(each.optsWithGlobals()));
}

interface SmtpOptions extends TargetOptions {
  readonly server: string;
  readonly port?: string;
  readonly tls: 'none' | 'starttls' | 'tls';
  readonly username?: string;
  readonly passwordFile?: string;
  readonly from: string;
  readonly mailto: readonly string[];
  readonly author?: string;
}

async function addSmtp(name: string, options: SmtpOptions): Promise<void> {
  const { server, port, tls, username, from, mailto, author, comment, disable } = options;
  const mode: SmtpMode = tls === 'none' ? 'insecure' : tls;
  const password = username === undefined ? {} : { password: await newPassword(username, options.passwordFile) };
  const config: TargetConfig = {
    type: 'smtp',
    name,
    server,
    mode,
    fromAddress: from,
    mailto,
    enabled: disable !== true,
    ...(port !== undefined && { port: wholeNumber('--port', port, 1, 65_535) }),
    ...(username !== undefined && { username }),
    ...(author !== undefined && { author }),
    ...(comment !== undefined && { comment }),
  };
  await add(options, config, password);
}

interface WebhookOptions extends TargetOptions {
  readonly url: string;
  readonly preset?: Preset;
  readonly method: WebhookConfig['method'];
  readonly header?: readonly string[];
  readonly body?: string;
  readonly secretFile?: readonly string[];
}

async function addWebhook(name: string, options: WebhookOptions): Promise<void> {
  const { url, preset, method, header = [], body, comment, disable } = options;
  const given = await readSecrets(options.secretFile ?? []);
  if (preset !== undefined && (header.length > 0 || body !== undefined))
    throw new HoldfastError('bad-argument', 'a preset has its own headers and body; leave --header and --body out');
  const { secrets, ...fields } =
    preset === undefined
      ? { url, method, headers: header.map(parseHeader), body: body ?? '', secrets: {} }
      : presetOf(preset, { url, token: given.token });
  const more = comment === undefined ? {} : { comment };
  await add(
    options,
    { type: 'webhook', name, enabled: disable !== true, ...more, ...fields },
    { ...secrets, ...given },
  );
}

async function add(
  options: StateOptions,
  config: TargetConfig,
  secrets: Readonly<Record<string, string>>,
): Promise<void> {
  await administerNotify(options, async (each) => await each.addTarget(config, secrets));
  print(
    options.outputFormat,
    { name: config.name },
    () => `made target ${config.name}; try it with holdfast notify target test ${config.name}`,
  );
}

function parseHeader(text: string): { name: string; value: string } {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new HoldfastError('bad-argument', `${JSON.stringify(text.slice(0, 60))} is no header; write 'NAME: VALUE'`);
  return { name, value };
}

async function readSecrets(files: readonly string[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const each of files) {
    const [, name, file] = /^([A-Za-z0-9_-]+)=(.+)$/s.exec(each) ?? [];
    if (name === undefined || file === undefined)
      throw new HoldfastError('bad-argument', 'a secret is given as NAME=FILE, such as token=/root/ntfy.token');
    try {
      found[name] = (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
    } catch (cause) {
      throw new HoldfastError('not-found', `the secret ${name} cannot be read: ${(cause as Error).message}`, { cause });
    }
  }
  return found;
}

async function listTargets(options: StateOptions): Promise<void> {
  const targets = await administerNotify(options, async (each) => await each.targets());
  print(options.outputFormat, targets, (all) =>
    table(
      ['name', 'type', 'enabled', 'to', 'comment'],
      all.map((each) => [each.name, each.type, each.enabled ? 'yes' : 'no', whereTo(each), each.comment ?? '']),
    ),
  );
}

function whereTo(target: TargetConfig): string {
  return target.type === 'smtp' ? `${target.mailto.join(', ')} through ${target.server}` : target.url;
}

async function showTarget(name: string, options: StateOptions): Promise<void> {
  const shown = await administerNotify(options, async (each) => {
    const found = (await each.targets()).find((target) => target.name === name);
    if (found === undefined)
      throw new HoldfastError('not-found', `there is no target ${name}; see holdfast notify target list`);
    return { ...found, secrets: await each.secretNames(name) };
  });
  print(options.outputFormat, shown, (each) =>
    pairs(
      Object.entries(each)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]): [string, string] => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
    ),
  );
}

async function removeTarget(name: string, options: StateOptions): Promise<void> {
  await administerNotify(options, async (each) => await each.removeTarget(name));
  print(options.outputFormat, { name, removed: true }, () => `removed target ${name}`);
}

async function testTarget(name: string, options: StateOptions): Promise<void> {
  await administerNotify(options, async (each) => await each.test(name));
  print(options.outputFormat, { name, sent: true }, () => `target ${name} took the test`);
}

interface MatcherOptions extends TargetOptions {
  readonly target: readonly string[];
  readonly matchSeverity?: readonly string[];
  readonly matchField?: readonly string[];
  readonly matchCalendar?: readonly string[];
  readonly mode: 'all' | 'any';
  readonly invertMatch?: boolean;
}

async function addMatcher(name: string, options: MatcherOptions): Promise<void> {
  const { target, mode, comment, disable, invertMatch } = options;
  const matcher = {
    name,
    mode,
    targets: target,
    severity: options.matchSeverity ?? [],
    field: options.matchField ?? [],
    calendar: options.matchCalendar ?? [],
    enabled: disable !== true,
    invert: invertMatch === true,
    ...(comment !== undefined && { comment }),
  };
  await administerNotify(options, async (each) => await each.addMatcher(matcher));
  print(options.outputFormat, { name }, () => `made matcher ${name}`);
}

async function listMatchers(options: StateOptions): Promise<void> {
  const matchers = await administerNotify(options, async (each) => await each.matchers());
  print(options.outputFormat, matchers, (all) =>
    table(
      ['name', 'enabled', 'rules', 'targets', 'comment'],
      all.map(({ name, enabled, mode, invert, severity, field, calendar, targets, comment }) => {
        const rules = [...severity.map((each) => `severity ${each}`), ...field, ...calendar];
        const text = rules.length === 0 ? 'everything' : rules.join(mode === 'all' ? ' and ' : ' or ');
        return [name, enabled ? 'yes' : 'no', invert ? `not (${text})` : text, targets.join(', '), comment ?? ''];
      }),
    ),
  );
}

async function useMatcher(name: string, isUsed: boolean, options: StateOptions): Promise<void> {
  await administerNotify(options, async (each) => await each.useMatcher(name, isUsed));
  print(options.outputFormat, { name, enabled: isUsed }, () => `matcher ${name} is ${isUsed ? 'used' : 'not used'}`);
}

async function removeMatcher(name: string, options: StateOptions): Promise<void> {
  await administerNotify(options, async (each) => await each.removeMatcher(name));
  print(options.outputFormat, { name, removed: true }, () => `removed matcher ${name}`);
}

async function listQueue(options: StateOptions): Promise<void> {
  const rows = await administerNotify(options, async (each) => await each.queue());
  print(options.outputFormat, rows, (all) =>
    all.length === 0
      ? 'nothing waits'
      : table(
          ['added', 'target', 'state', 'attempts', 'next', 'subject', 'error'],
          all.map(({ added, target, state, attempts, next, subject, error }) => {
            const again = state === 'waiting' ? formatTime(next) : '';
            return [formatTime(added), target, state, String(attempts), again, subject, error ?? ''];
          }),
          new Set(['attempts']),
        ),
  );
}

async function checkAlarms(options: StateOptions): Promise<void> {
  const found = await administerNotify(options, async (each) => await each.check());
  print(options.outputFormat, found, ({ alarms, unknown }) =>
    [
      alarms.length === 0
        ? 'no alarm is raised'
        : table(
            ['raised', 'datastore', 'what'],
            alarms.map(({ raised, datastore, text }) => [formatTime(raised), datastore, text]),
          ),
      ...(unknown.length === 0 ? [] : [`not known of all groups of: ${unknown.join(', ')} (the log says why)`]),
    ].join('\n'),
  );
}

async function sendDigest({ hours, ...options }: StateOptions & { readonly hours: string }): Promise<void> {
  const count = wholeNumber('--hours', hours, 1, MOST_HOURS);
  const targets = await administerNotify(options, async (each) => await each.digest(count));
  if (targets.length === 0)
    throw new HoldfastError(
      'not-found',
      'no target gets the digest: make one with holdfast notify target add-smtp, or see holdfast notify matcher list',
    );
  print(options.outputFormat, { targets, hours: count }, () => `the digest goes to ${targets.join(', ')}`);
}

interface SettingOptions extends StateOptions {
  readonly backupHours?: string;
  readonly fullDays?: string;
  readonly verifyDays?: string;
  readonly jobHours?: string;
  readonly digestAt?: string;
}

async function settings(given: SettingOptions): Promise<void> {
  const { backupHours, fullDays, verifyDays, jobHours, digestAt, ...options } = given;
  if (options.repository !== undefined)
    throw new HoldfastError('bad-argument', 'alarms are set on the machine of the server: give --state-dir DIR there');
  const most = 10_000;
  const { localNotifySettings } = await import('../admin/local-notify.ts');
  const shown = await withServerState(options, (open) => {
    const kept = localNotifySettings(open);
    kept.setRules({
      ...(backupHours !== undefined && { backupHours: wholeNumber('--backup-hours', backupHours, 0, most) }),
      ...(fullDays !== undefined && { fullDays: wholeNumber('--full-days', fullDays, 0, most) }),
      ...(verifyDays !== undefined && { verifyDays: wholeNumber('--verify-days', verifyDays, 0, most) }),
      ...(jobHours !== undefined && { jobHours: wholeNumber('--job-hours', jobHours, 0, most) }),
    });
    if (digestAt !== undefined) kept.setDigestAt(digestAt);
    return { ...kept.rules(), digestAt: kept.digestAt() ?? 'off' };
  });
  print(options.outputFormat, shown, (each) =>
    pairs([
      ['backup-hours', String(each.backupHours)],
      ['full-days', String(each.fullDays)],
      ['verify-days', String(each.verifyDays)],
      ['job-hours', String(each.jobHours)],
      ['digest-at', each.digestAt],
    ]),
  );
}
