// Users and API tokens in the state database.
import type { Database } from 'better-sqlite3';
import type { TokenRecord, TokenStore, UserRecord, UserStore } from '../auth/access-store.ts';
import type { UserId } from '../schema/auth-id.ts';

interface UserRow {
  readonly userid: string;
  readonly enable: number;
  readonly expire: number;
  readonly comment: string;
  readonly firstname: string;
  readonly lastname: string;
  readonly email: string;
  readonly password_hash: string | null;
  readonly ticket_epoch: string;
}

interface TokenRow {
  readonly userid: string;
  readonly name: string;
  readonly secret_hash: Buffer;
  readonly enable: number;
  readonly expire: number;
  readonly comment: string;
}

const USER_COLUMNS = 'userid, enable, expire, comment, firstname, lastname, email, password_hash, ticket_epoch';
const TOKEN_COLUMNS = 'userid, name, secret_hash, enable, expire, comment';

/** `changed` is called after each change. */
export function userTable(db: Database, changed: () => void): UserStore {
  const find = db.prepare<[string], UserRow>(`SELECT ${USER_COLUMNS} FROM users WHERE userid = ?`);
  const list = db.prepare<[], UserRow>(`SELECT ${USER_COLUMNS} FROM users ORDER BY userid`);
  const insert = db.prepare<UserRow>(
    `INSERT INTO users (${USER_COLUMNS})
     VALUES (@userid, @enable, @expire, @comment, @firstname, @lastname, @email, @password_hash, @ticket_epoch)`,
  );
  const update = db.prepare<UserRow>(
    `UPDATE users SET enable = @enable, expire = @expire, comment = @comment, firstname = @firstname,
       lastname = @lastname, email = @email, password_hash = @password_hash, ticket_epoch = @ticket_epoch
     WHERE userid = @userid`,
  );
  const remove = db.prepare<[string]>('DELETE FROM users WHERE userid = ?');
  return {
    find(userid) {
      const row = find.get(userid);
      return row === undefined ? undefined : userOfRow(row);
    },
    list: () => list.all().map(userOfRow),
    insert(user) {
      insert.run(rowOfUser(user));
      changed();
    },
    update(user) {
      update.run(rowOfUser(user));
      changed();
    },
    delete(userid) {
      remove.run(userid);
      changed();
    },
  };
}

/** `changed` is called after each change. */
export function tokenTable(db: Database, changed: () => void): TokenStore {
  const find = db.prepare<[string, string], TokenRow>(
    `SELECT ${TOKEN_COLUMNS} FROM tokens WHERE userid = ? AND name = ?`,
  );
  const listAll = db.prepare<[], TokenRow>(`SELECT ${TOKEN_COLUMNS} FROM tokens ORDER BY userid, name`);
  const listOf = db.prepare<[string], TokenRow>(`SELECT ${TOKEN_COLUMNS} FROM tokens WHERE userid = ? ORDER BY name`);
  const insert = db.prepare<TokenRow>(
    `INSERT INTO tokens (${TOKEN_COLUMNS}) VALUES (@userid, @name, @secret_hash, @enable, @expire, @comment)`,
  );
  const update = db.prepare<TokenRow>(
    `UPDATE tokens SET secret_hash = @secret_hash, enable = @enable, expire = @expire, comment = @comment
     WHERE userid = @userid AND name = @name`,
  );
  const remove = db.prepare<[string, string]>('DELETE FROM tokens WHERE userid = ? AND name = ?');
  return {
    find(userid, name) {
      const row = find.get(userid, name);
      return row === undefined ? undefined : tokenOfRow(row);
    },
    list: (userid) => (userid === undefined ? listAll.all() : listOf.all(userid)).map(tokenOfRow),
    insert(token) {
      insert.run(rowOfToken(token));
      changed();
    },
    update(token) {
      update.run(rowOfToken(token));
      changed();
    },
    delete(userid, name) {
      remove.run(userid, name);
      changed();
    },
  };
}

// Rows were checked when they were written.
function userOfRow({ password_hash, ticket_epoch, enable, userid, ...row }: UserRow): UserRecord {
  return {
    ...row,
    userid: userid as UserId,
    enable: enable === 1,
    passwordHash: password_hash ?? undefined,
    ticketEpoch: ticket_epoch,
  };
}

function rowOfUser({ passwordHash, ticketEpoch, enable, ...user }: UserRecord): UserRow {
  return { ...user, enable: enable ? 1 : 0, password_hash: passwordHash ?? null, ticket_epoch: ticketEpoch };
}

function tokenOfRow({ userid, secret_hash, enable, ...row }: TokenRow): TokenRecord {
  return { ...row, userid: userid as UserId, enable: enable === 1, secretHash: secret_hash };
}

function rowOfToken({ secretHash, enable, ...token }: TokenRecord): TokenRow {
  return { ...token, enable: enable ? 1 : 0, secret_hash: Buffer.from(secretHash) };
}
