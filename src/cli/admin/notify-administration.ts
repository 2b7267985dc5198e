// What the commands of notifications ask for, wherever the server's state is: the interface beside its consumers.
import type { Matcher } from '../../notify/matcher.ts';
import type { Secrets, TargetConfig } from '../../notify/target-config.ts';

/** Times are Unix seconds. */
export interface QueuedView {
  readonly id: number;
  readonly target: string;
  readonly state: 'waiting' | 'failed';
  readonly severity: string;
  readonly subject: string;
  readonly attempts: number;
  readonly added: number;
  readonly next: number;
  readonly error?: string | undefined;
}

/** Each call throws what the rules of notifications say: `not-found`, `exists`, `bad-argument`, and what a target that is tested throws. */
export interface NotifyAdministration {
  targets(): Promise<readonly TargetConfig[]>;
  secretNames(target: string): Promise<readonly string[]>;
  addTarget(config: TargetConfig, secrets: Secrets): Promise<void>;
  removeTarget(name: string): Promise<void>;
  test(name: string): Promise<void>;
  matchers(): Promise<readonly (Matcher & { readonly origin: string })[]>;
  addMatcher(matcher: Matcher): Promise<void>;
  removeMatcher(name: string): Promise<void>;
  queue(): Promise<readonly QueuedView[]>;
}
