// Access control over a real state database in a directory of its own, with a clock that stands still and cheap passwords.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Secret, TOTP } from 'otpauth';
import { type AccessServices, type AccessStores, accessServices } from '../../src/auth/access-services.ts';
import type { Actor } from '../../src/auth/audit-log.ts';
import type { PasswordHashing } from '../../src/auth/passwords.ts';
import { parseUserId, ROOT_USER, type UserId } from '../../src/schema/auth-id.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { type ErrorCode, HoldfastError } from '../../src/util/errors.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

export { temporaryDirectory } from '../support/temporary-directory.ts';

export const NOON_MS = Date.UTC(2026, 10, 20, 12);
export const ADDRESS = '192.0.2.7';
export const ROOT: Actor = { authId: ROOT_USER, address: '' };

export class FakeClock {
  nowMs = NOON_MS;
  readonly read = (): number => this.nowMs;

  get seconds(): number {
    return Math.floor(this.nowMs / 1000);
  }

  passSeconds(seconds: number): void {
    this.nowMs += seconds * 1000;
  }
}

/** Counts what it is asked, and hashes nothing. */
export class CheapPasswords implements PasswordHashing {
  verified = 0;
  /** Runs while a password is looked at. */
  meanwhile: () => void = () => undefined;

  async hash(password: string): Promise<string> {
    return `cheap:${password}`;
  }

  async verify(stored: string | undefined, password: string): Promise<boolean> {
    this.verified++;
    this.meanwhile();
    return stored === `cheap:${password}`;
  }
}

export interface Fixture extends AccessServices {
  readonly clock: FakeClock;
  readonly passwords: CheapPasswords;
  readonly state: StateDatabase;
  readonly stores: AccessStores;
  readonly rootPassword: string;
}

export async function openFixture(t: TestContext): Promise<Fixture> {
  const state = StateDatabase.open(join(temporaryDirectory(t), 'state', 'state.db'));
  t.after(() => state.close());
  const clock = new FakeClock();
  const passwords = new CheapPasswords();
  const stores = authTables(state, clock.read);
  const services = accessServices(stores, clock.read, passwords);
  const rootPassword = (await services.createRoot()) as string;
  return { ...services, clock, passwords, state, stores, rootPassword };
}

/** A user of realm local with the password `NAME's password`. */
export async function addUser({ access }: Fixture, name: string): Promise<UserId> {
  const userid = parseUserId(`${name}@local`);
  await access.createUser(ROOT, { userid, password: passwordOf(name) });
  return userid;
}

export function passwordOf(name: string): string {
  return `${name}'s password`;
}

export function as(authId: Actor['authId']): Actor {
  return { authId, address: ADDRESS };
}

export function signIn({ authenticator }: Fixture, username: string, password: string, tfaChallenge?: string) {
  return authenticator.login({ username, password, tfaChallenge, address: ADDRESS });
}

/** A key as a user's authenticator and the page that shows it make one: the server is told, and never makes one. */
export function newTotpUri(user: string, issuer = 'Holdfast'): string {
  return new TOTP({ issuer, label: user, secret: new Secret({ size: 20 }) }).toString();
}

/** For `assert.throws` and `assert.rejects`. */
export function withCode(code: ErrorCode, message?: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof HoldfastError && error.code === code && (message === undefined || message.test(error.message));
}
