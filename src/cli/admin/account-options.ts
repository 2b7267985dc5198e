// Options that users and tokens have in common, and how lists show them.
import type { Command } from 'commander';
import { formatTime, parseTime } from '../../schema/names.ts';
import { HoldfastError } from '../../util/errors.ts';

export interface AccountOptions {
  readonly comment?: string;
  /** A time, or `never`. */
  readonly expire?: string;
  readonly enable?: string;
}

/** `stateOf` names what is enabled: a user, a token. */
export function addAccountOptions(command: Command, stateOf: string): Command {
  return command
    .option('--comment <TEXT>')
    .option('--expire <TIME>', 'such as 2027-01-31T00:00:00Z, or never')
    .option('--enable <YES|NO>', `no keeps the ${stateOf} and lets nobody in with it`);
}

/** What was given. @throws `bad-name` for a time, `bad-argument`. */
export function accountFields({ comment, expire, enable }: AccountOptions): {
  comment?: string;
  expire?: number;
  enable?: boolean;
} {
  return {
    ...(comment !== undefined && { comment }),
    ...(expire !== undefined && { expire: expire === 'never' ? 0 : parseTime(expire) }),
    ...(enable !== undefined && { enable: yesOrNo('--enable', enable) }),
  };
}

export function yesOrNo(option: string, text: string): boolean {
  if (/^(yes|true|1)$/.test(text)) return true;
  if (/^(no|false|0)$/.test(text)) return false;
  throw new HoldfastError('bad-argument', `${option} takes yes or no, not ${JSON.stringify(text.slice(0, 40))}`);
}

/** Unix seconds, 0 for never. */
export function shownExpire(expire: number): string {
  return expire === 0 ? 'never' : formatTime(expire);
}
