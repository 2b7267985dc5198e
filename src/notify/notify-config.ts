// What is set up for notifications, with the rules of what may be: names, counts, references. Every change is in the audit log, without secrets.
import { HoldfastError } from '../util/errors.ts';
import type { ConfigStore } from './config-store.ts';
import { type Matcher, requireRules } from './matcher.ts';
import { requireName, requireSound, type Secrets, TARGET_LIMITS, type TargetConfig } from './target-config.ts';

const MAX_MATCHERS = 32;
const MAX_RULES = 16;
const DEFAULT_NAME = 'default-matcher';

/** Whether somebody made it, or it is there by itself. */
export type Origin = 'user-created' | 'builtin' | 'modified-builtin';

export interface Who {
  readonly authId: string;
  readonly address: string;
}

export interface NotifyAudit {
  append(event: {
    readonly action: 'notification-add' | 'notification-update' | 'notification-remove';
    readonly by: string;
    readonly address: string;
    readonly object: string;
    readonly detail: Readonly<Record<string, string>>;
  }): void;
}

export interface NotifyConfigParts {
  readonly store: ConfigStore;
  /** What waits for a target goes with it. */
  readonly queue: { removeTarget(target: string): void };
  readonly audit: NotifyAudit;
  readonly transactions: { atomically<Result>(work: () => Result): Result };
}

export class NotifyConfig {
  readonly #parts: NotifyConfigParts;

  constructor(parts: NotifyConfigParts) {
    this.#parts = parts;
  }

  targets(): readonly TargetConfig[] {
    return this.#parts.store.targets();
  }

  /** @throws `not-found`. */
  target(name: string): TargetConfig {
    const found = this.targets().find((each) => each.name === name);
    if (found === undefined) throw new HoldfastError('not-found', `there is no target ${JSON.stringify(name)}`);
    return found;
  }

  /** Names of secrets that are set; their values go to nobody but the target itself. */
  secretNames(name: string): readonly string[] {
    return Object.keys(this.#parts.store.secretsOf(name)).sort();
  }

  /** @throws `exists`, `too-many`, `bad-name`, `bad-argument`, `too-large`. */
  addTarget(who: Who, config: TargetConfig, secrets: Secrets): void {
    requireSound(config, secrets);
    this.#parts.transactions.atomically(() => {
      const others = this.targets();
      if (others.some(({ name }) => name === config.name))
        throw new HoldfastError('exists', `there is a target ${config.name} already; choose another name`);
      if (others.length >= TARGET_LIMITS.targets)
        throw new HoldfastError('too-many', `a server has at most ${TARGET_LIMITS.targets} targets`);
      this.#parts.store.putTarget(config, secrets);
      this.#note(who, 'notification-add', config.name, { target: config.type });
    });
  }

  /** `change` gets what is set, and the secrets. @throws `not-found`, and as `addTarget`. */
  updateTarget(
    who: Who,
    name: string,
    change: (config: TargetConfig, secrets: Secrets) => { readonly config: TargetConfig; readonly secrets: Secrets },
  ): void {
    this.#parts.transactions.atomically(() => {
      const { config, secrets } = change(this.target(name), this.#parts.store.secretsOf(name));
      requireSound(config, secrets);
      this.#parts.store.putTarget(config, secrets);
      this.#note(who, 'notification-update', name, { target: config.type });
    });
  }

  /** With what waits for it. @throws `not-found`; `bad-argument` while a matcher names it, but the one that is there by itself and is switched off. */
  removeTarget(who: Who, name: string): void {
    this.#parts.transactions.atomically(() => {
      const { type } = this.target(name);
      const naming = this.#parts.store.matchers().filter(({ targets }) => targets.includes(name));
      const isOff = (each: Matcher): boolean => each.name === DEFAULT_NAME && !each.enabled;
      const users = naming.filter((each) => !isOff(each));
      if (users.length > 0)
        throw new HoldfastError(
          'bad-argument',
          `cannot delete '${name}', referenced by: ${users.map((each) => each.name).join(', ')}`,
        );
      for (const each of naming.filter(isOff))
        this.#parts.store.putMatcher({ ...each, targets: each.targets.filter((target) => target !== name) });
      this.#parts.store.removeTarget(name);
      this.#parts.queue.removeTarget(name);
      this.#note(who, 'notification-remove', name, { target: type });
    });
  }

  /** Those that were made, and the one that is there by itself: everything to all targets. */
  matchers(): readonly (Matcher & { readonly origin: Origin })[] {
    const stored = this.#parts.store.matchers();
    const made = stored.map((each) => ({
      ...each,
      origin: each.name === DEFAULT_NAME ? ('modified-builtin' as const) : ('user-created' as const),
    }));
    return stored.some(({ name }) => name === DEFAULT_NAME) ? made : [this.#builtin(), ...made];
  }

  /** @throws `not-found`. */
  matcher(name: string): Matcher & { readonly origin: Origin } {
    const found = this.matchers().find((each) => each.name === name);
    if (found === undefined) throw new HoldfastError('not-found', `there is no matcher ${JSON.stringify(name)}`);
    return found;
  }

  /** @throws `exists`, `too-many`, `bad-name`, `bad-argument`; `not-found` for a target that is not there. */
  addMatcher(who: Who, matcher: Matcher): void {
    this.#parts.transactions.atomically(() => {
      const others = this.#parts.store.matchers();
      if (others.some(({ name }) => name === matcher.name))
        throw new HoldfastError('exists', `there is a matcher ${matcher.name} already; choose another name`);
      if (others.length >= MAX_MATCHERS)
        throw new HoldfastError('too-many', `a server has at most ${MAX_MATCHERS} matchers`);
      this.#putMatcher(matcher);
      this.#note(who, 'notification-add', matcher.name, {});
    });
  }

  /** Of the one that is there by itself it makes one of the administrator's. @throws as `addMatcher`. */
  updateMatcher(who: Who, name: string, change: (matcher: Matcher) => Matcher): void {
    this.#parts.transactions.atomically(() => {
      const { origin: _, ...matcher } = this.matcher(name);
      this.#putMatcher({ ...change(matcher), name });
      this.#note(who, 'notification-update', name, {});
    });
  }

  /** The one that is there by itself becomes what it was. @throws `not-found`. */
  removeMatcher(who: Who, name: string): void {
    this.#parts.transactions.atomically(() => {
      if (this.matcher(name).origin === 'builtin')
        throw new HoldfastError('bad-argument', `${name} is there by itself; switch it off with disable`);
      this.#parts.store.removeMatcher(name);
      this.#note(who, 'notification-remove', name, {});
    });
  }

  #putMatcher(matcher: Matcher): void {
    requireName(matcher.name, 'matcher');
    for (const rules of [matcher.severity, matcher.field, matcher.calendar])
      if (rules.length > MAX_RULES)
        throw new HoldfastError('too-many', `a matcher takes at most ${MAX_RULES} rules of a kind`);
    if ((matcher.comment ?? '').length > TARGET_LIMITS.text)
      throw new HoldfastError('too-large', `a comment takes at most ${TARGET_LIMITS.text} characters`);
    requireRules(matcher);
    for (const target of matcher.targets) this.target(target);
    this.#parts.store.putMatcher(matcher);
  }

  #builtin(): Matcher & { readonly origin: Origin } {
    return {
      name: DEFAULT_NAME,
      comment: 'Route all notifications to all targets',
      enabled: true,
      mode: 'all',
      invert: false,
      severity: [],
      field: [],
      calendar: [],
      targets: this.targets().map(({ name }) => name),
      origin: 'builtin',
    };
  }

  #note(
    who: Who,
    action: Parameters<NotifyAudit['append']>[0]['action'],
    object: string,
    detail: Record<string, string>,
  ): void {
    this.#parts.audit.append({ action, by: who.authId, address: who.address, object, detail });
  }
}
