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

/** Alarms that are raised after a look at all datastores. */
export interface CheckView {
  readonly alarms: readonly {
    readonly type: string;
    readonly datastore: string;
    /** Unix seconds. */
    readonly raised: number;
    readonly text: string;
  }[];
  /** Datastores that could not be asked. */
  readonly unknown: readonly string[];
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
  /** Whether it is used; also of the one that is there by itself. */
  useMatcher(name: string, isUsed: boolean): Promise<void>;
  removeMatcher(name: string): Promise<void>;
  queue(): Promise<readonly QueuedView[]>;
  /** Has the server look now what has not happened. @throws `server-unreachable` where none runs, `timed-out`, `task-failed`. */
  check(): Promise<CheckView>;
  /** Sends the digest of the last `hours`; answers with the targets that get it. */
  digest(hours: number): Promise<readonly string[]>;
}
