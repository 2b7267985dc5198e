// What is set up for notifications, as rows: behind it stands the state database.
import type { Matcher } from './matcher.ts';
import type { Secrets, TargetConfig } from './target-config.ts';

export interface ConfigStore {
  /** By name. */
  targets(): readonly TargetConfig[];
  /** Only for those who send; nothing that shows something asks for it. */
  secretsOf(target: string): Secrets;
  putTarget(config: TargetConfig, secrets: Secrets): void;
  removeTarget(name: string): void;
  /** By name. */
  matchers(): readonly Matcher[];
  putMatcher(matcher: Matcher): void;
  removeMatcher(name: string): void;
  setting(name: string): string | undefined;
  putSetting(name: string, value: string): void;
}
