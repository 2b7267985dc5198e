// Settings that somebody gives, as they are stored: checked, and without a password in the clear.
import { hashPassword, isHashedPassword } from '../cloud-init/password.ts';
import { checkSettings } from '../config/vm-keys.ts';

export type Settings = Readonly<Record<string, string>>;

/** @throws `bad-argument`, naming the key; `tool-missing` (openssl, for a password). */
export async function checkGivenSettings(settings: Settings, signal?: AbortSignal): Promise<Record<string, string>> {
  const checked = checkSettings(settings);
  if (checked.cipassword !== undefined && !isHashedPassword(checked.cipassword))
    checked.cipassword = await hashPassword(checked.cipassword, signal);
  return checked;
}
