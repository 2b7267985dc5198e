// Second factors, recovery codes and their locks in the state database.
import type { Database } from 'better-sqlite3';
import type { FactorEntry, FactorLock, FactorType, SecondFactorStore, TotpKey } from '../auth/second-factor-store.ts';
import type { UserId } from '../schema/auth-id.ts';

interface FactorRow {
  readonly id: string;
  readonly type: string;
  readonly description: string;
  readonly created: number;
  readonly enable: number;
}

interface LockRow {
  readonly totp_failures: number;
  readonly recovery_failures: number;
  readonly totp_locked: number;
  readonly tfa_locked_until: number;
}

export function secondFactorTable(db: Database): SecondFactorStore {
  const entries = db.prepare<[string], FactorRow>(
    'SELECT id, type, description, created, enable FROM second_factors WHERE userid = ? ORDER BY created, id',
  );
  const users = db.prepare<[], string>('SELECT DISTINCT userid FROM second_factors ORDER BY userid').pluck();
  const totpKeys = db.prepare<[string], TotpKey>(
    `SELECT id, totp_uri AS uri, last_step AS lastStep FROM second_factors
     WHERE userid = ? AND type = 'totp' AND enable = 1 AND totp_uri IS NOT NULL`,
  );
  const setLastStep = db.prepare<[number, string, string]>(
    'UPDATE second_factors SET last_step = ? WHERE userid = ? AND id = ?',
  );
  const codes = db
    .prepare<[string], number>(
      `SELECT number FROM recovery_codes JOIN second_factors USING (userid, id)
       WHERE userid = ? AND enable = 1 ORDER BY number`,
    )
    .pluck();
  const take = db.prepare<[string, Uint8Array]>('DELETE FROM recovery_codes WHERE userid = ? AND hash = ?');
  const add = db.prepare<FactorRow & { userid: string }>(
    `INSERT INTO second_factors (userid, id, type, description, created, enable)
     VALUES (@userid, @id, @type, @description, @created, @enable)`,
  );
  const setKey = db.prepare<[string, number, string, string]>(
    'UPDATE second_factors SET totp_uri = ?, last_step = ? WHERE userid = ? AND id = ?',
  );
  const addCode = db.prepare<[string, string, number, Uint8Array]>(
    'INSERT INTO recovery_codes (userid, id, number, hash) VALUES (?, ?, ?, ?)',
  );
  const update = db.prepare<[string, number, string, string]>(
    'UPDATE second_factors SET description = ?, enable = ? WHERE userid = ? AND id = ?',
  );
  const remove = db.prepare<[string, string]>('DELETE FROM second_factors WHERE userid = ? AND id = ?');
  const lock = db.prepare<[string], LockRow>(
    'SELECT totp_failures, recovery_failures, totp_locked, tfa_locked_until FROM users WHERE userid = ?',
  );
  const setLock = db.prepare<[number, number, number, number, string]>(
    `UPDATE users SET totp_failures = ?, recovery_failures = ?, totp_locked = ?, tfa_locked_until = ? WHERE userid = ?`,
  );
  return {
    entries: (user) => entries.all(user).map(entryOf),
    // Rows were checked when they were written.
    users: () => users.all() as UserId[],
    totpKeys: (user) => totpKeys.all(user),
    setLastStep: (user, id, step) => void setLastStep.run(step, user, id),
    recoveryCodes: (user) => codes.all(user),
    takeRecoveryCode: (user, hash) => take.run(user, hash).changes === 1,
    add: (user, entry) => void add.run({ ...entry, userid: user, enable: entry.enable ? 1 : 0 }),
    setTotpKey: (user, { id, uri, lastStep }) => void setKey.run(uri, lastStep, user, id),
    setRecoveryCodes(user, id, hashes) {
      for (const [index, hash] of hashes.entries()) addCode.run(user, id, index, hash);
    },
    update: (user, { id, description, enable }) => void update.run(description, enable ? 1 : 0, user, id),
    delete: (user, id) => void remove.run(user, id),
    lock: (user) => lockOf(lock.get(user)),
    setLock: (user, { totpFailures, recoveryFailures, totpLocked, lockedUntil }) =>
      void setLock.run(totpFailures, recoveryFailures, totpLocked ? 1 : 0, lockedUntil, user),
  };
}

function entryOf({ type, enable, ...row }: FactorRow): FactorEntry {
  return { ...row, type: type as FactorType, enable: enable === 1 };
}

function lockOf(row: LockRow | undefined): FactorLock {
  return {
    totpFailures: row?.totp_failures ?? 0,
    recoveryFailures: row?.recovery_failures ?? 0,
    totpLocked: row?.totp_locked === 1,
    lockedUntil: row?.tfa_locked_until ?? 0,
  };
}
