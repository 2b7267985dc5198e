// A target as it is set up, as something that takes messages.
import type { Target } from '../target.ts';
import type { Secrets, TargetConfig } from '../target-config.ts';
import { smtpTarget } from './smtp.ts';
import { webhookTarget } from './webhook.ts';

/** `secrets` are those of the target. */
export function openTarget(config: TargetConfig, secrets: Secrets): Target {
  return config.type === 'smtp' ? smtpTarget(config, secrets.password) : webhookTarget(config, secrets);
}
