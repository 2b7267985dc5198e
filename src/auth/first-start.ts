// What a new server makes for itself: the keys that sign tickets, and root@pam with a password that is shown once.
import { generateKeyPairSync, randomBytes, randomInt } from 'node:crypto';
import { ROOT_USER } from '../schema/auth-id.ts';
import type { SecretStore, Transactions, UserStore } from './access-store.ts';
import type { AuditLog } from './audit-log.ts';
import type { PasswordHashing } from './passwords.ts';
import { Tickets } from './tickets.ts';

const SIGNING_KEY = 'ticket-signing-key';
const CSRF_KEY = 'csrf-key';
/** Secrets with which anybody could make tickets. New ones are made when they are missing; all sessions end with them. */
export const TICKET_SECRETS: readonly string[] = [SIGNING_KEY, CSRF_KEY];
/** 20 letters of 32: 100 bits. */
const PASSWORD_LENGTH = 20;
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** Opens the keys of tickets, and makes them when there are none. Two processes at once get the same ones. */
export function openTickets(secrets: SecretStore, transactions: Transactions): Tickets {
  return transactions.atomically(() => {
    const keyOf = (name: string, make: () => Uint8Array): Uint8Array => {
      const found = secrets.find(name);
      if (found !== undefined) return found;
      const made = make();
      secrets.insert(name, made);
      return made;
    };
    const signing = keyOf(SIGNING_KEY, () =>
      generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' }),
    );
    return new Tickets(
      signing,
      keyOf(CSRF_KEY, () => randomBytes(32)),
    );
  });
}

/** Makes root@pam when it is not there. Returns its password then, which nothing can show again. */
export async function createRoot(parts: {
  readonly users: UserStore;
  readonly transactions: Transactions;
  readonly passwords: PasswordHashing;
  readonly audit: Pick<AuditLog, 'append'>;
}): Promise<string | undefined> {
  const { users, transactions, passwords, audit } = parts;
  if (users.find(ROOT_USER) !== undefined) return undefined;
  const password = Array.from({ length: PASSWORD_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  const passwordHash = await passwords.hash(password);
  const ticketEpoch = randomBytes(16).toString('hex');
  return transactions.atomically(() => {
    if (users.find(ROOT_USER) !== undefined) return undefined;
    const texts = { comment: 'Superuser', firstname: '', lastname: '', email: '' };
    users.insert({ userid: ROOT_USER, enable: true, expire: 0, ...texts, passwordHash, ticketEpoch });
    audit.append({
      action: 'user-create',
      by: ROOT_USER,
      address: '',
      object: ROOT_USER,
      detail: { firstStart: true },
    });
    return password;
  });
}
