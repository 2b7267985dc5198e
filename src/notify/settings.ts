// What is set for alarms and the digest.
import { HoldfastError } from '../util/errors.ts';
import { type AlarmRules, USUAL_RULES } from './alarms/alarm-rules.ts';
import type { ConfigStore } from './config-store.ts';

const NAMES = {
  backupHours: 'backup-hours',
  fullDays: 'full-days',
  verifyDays: 'verify-days',
  jobHours: 'job-hours',
} as const;
const MOST = 10_000;

export class NotifySettings {
  readonly #store: Pick<ConfigStore, 'setting' | 'putSetting'>;

  constructor(store: Pick<ConfigStore, 'setting' | 'putSetting'>) {
    this.#store = store;
  }

  rules(): AlarmRules {
    const value = (name: keyof AlarmRules): number => Number(this.#store.setting(NAMES[name]) ?? USUAL_RULES[name]);
    return {
      backupHours: value('backupHours'),
      fullDays: value('fullDays'),
      verifyDays: value('verifyDays'),
      jobHours: value('jobHours'),
    };
  }

  /** What is not named stays; 0 switches a rule off. @throws `bad-argument`. */
  setRules(rules: Partial<AlarmRules>): void {
    for (const value of Object.values(rules))
      if (!Number.isInteger(value) || value < 0 || value > MOST)
        throw new HoldfastError('bad-argument', `a limit of an alarm is a whole number up to ${MOST}, or 0 for never`);
    for (const [name, value] of Object.entries(rules))
      this.#store.putSetting(NAMES[name as keyof AlarmRules], String(value));
  }

  /** `HH:MM` in local time; undefined when none is sent. */
  digestAt(): string | undefined {
    const at = this.#store.setting('digest-at');
    return at === undefined || at === 'off' ? undefined : at;
  }

  /** `HH:MM`, or `off`. @throws `bad-argument`. */
  setDigestAt(at: string): void {
    if (at !== 'off' && !/^([01]\d|2[0-3]):[0-5]\d$/.test(at))
      throw new HoldfastError(
        'bad-argument',
        `${JSON.stringify(at.slice(0, 20))} is no time of a day; write 07:00, or off`,
      );
    this.#store.putSetting('digest-at', at);
  }

  /** Unix seconds. */
  lastDigest(): number | undefined {
    const last = this.#store.setting('digest-last');
    return last === undefined ? undefined : Number(last);
  }

  noteDigest(time: number): void {
    this.#store.putSetting('digest-last', String(time));
  }
}
