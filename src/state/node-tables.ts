// The tables of nodes and of enrolments (migration 4). All their queries are here.
import type { Database } from 'better-sqlite3';
import type { EnrolmentRecord, NodeRecord, NodeStore } from '../nodes/node-store.ts';
import type { AuthId, UserId } from '../schema/auth-id.ts';
import { unsynced } from './unsynced.ts';

interface StoredNode {
  readonly name: string;
  readonly auth_id: string;
  readonly machine_id: string;
  readonly enrolled_ms: number;
  readonly version: string;
  readonly host_name: string;
  readonly boot_id: string;
  readonly address: string;
  readonly last_contact_ms: number;
}

interface StoredEnrolment {
  readonly node: string;
  readonly userid: string;
  readonly secret_hash: Buffer;
  readonly expire_ms: number;
  readonly created_by: string;
}

/** `db` has migration 4. */
export function nodeTables(db: Database): NodeStore {
  const list = db.prepare<[], StoredNode>('SELECT * FROM nodes ORDER BY name');
  const find = db.prepare<[string], StoredNode>('SELECT * FROM nodes WHERE name = ?');
  const put = db.prepare<StoredNode>(
    `INSERT OR REPLACE INTO nodes
       (name, auth_id, machine_id, enrolled_ms, version, host_name, boot_id, address, last_contact_ms)
     VALUES
       (:name, :auth_id, :machine_id, :enrolled_ms, :version, :host_name, :boot_id, :address, :last_contact_ms)`,
  );
  const heard = db.prepare<Omit<StoredNode, 'auth_id' | 'machine_id' | 'enrolled_ms'>>(
    `UPDATE nodes
     SET version = :version, host_name = :host_name, boot_id = :boot_id, address = :address, last_contact_ms = :last_contact_ms
     WHERE name = :name`,
  );
  const remove = db.prepare<[string]>('DELETE FROM nodes WHERE name = ?');
  const listEnrolments = db.prepare<[], StoredEnrolment>('SELECT * FROM node_enrolments ORDER BY node');
  const findEnrolment = db.prepare<[string], StoredEnrolment>('SELECT * FROM node_enrolments WHERE node = ?');
  const putEnrolment = db.prepare<StoredEnrolment>(
    `INSERT OR REPLACE INTO node_enrolments (node, userid, secret_hash, expire_ms, created_by)
     VALUES (:node, :userid, :secret_hash, :expire_ms, :created_by)`,
  );
  const removeEnrolment = db.prepare<[string]>('DELETE FROM node_enrolments WHERE node = ?');
  const some = <Row, Value>(row: Row | undefined, read: (row: Row) => Value): Value | undefined =>
    row === undefined ? undefined : read(row);
  return {
    list: () => list.all().map(nodeOf),
    find: (name) => some(find.get(name), nodeOf),
    put: (node) => void put.run(rowOfNode(node)),
    heard: (name, { version, hostName, bootId, address, lastContactMs }) =>
      unsynced(
        db,
        () =>
          void heard.run({
            name,
            version,
            host_name: hostName,
            boot_id: bootId,
            address,
            last_contact_ms: lastContactMs,
          }),
      ),
    delete: (name) => void remove.run(name),
    enrolments: () => listEnrolments.all().map(enrolmentOf),
    enrolment: (node) => some(findEnrolment.get(node), enrolmentOf),
    putEnrolment: ({ node, userid, secretHash, expireMs, createdBy }) =>
      void putEnrolment.run({
        node,
        userid,
        secret_hash: Buffer.from(secretHash),
        expire_ms: expireMs,
        created_by: createdBy,
      }),
    deleteEnrolment: (node) => void removeEnrolment.run(node),
  };
}

// Rows were checked when they were written.
function nodeOf(row: StoredNode): NodeRecord {
  return {
    name: row.name,
    authId: row.auth_id as AuthId,
    machineId: row.machine_id,
    enrolledMs: row.enrolled_ms,
    version: row.version,
    hostName: row.host_name,
    bootId: row.boot_id,
    address: row.address,
    lastContactMs: row.last_contact_ms,
  };
}

function rowOfNode(node: NodeRecord): StoredNode {
  return {
    name: node.name,
    auth_id: node.authId,
    machine_id: node.machineId,
    enrolled_ms: node.enrolledMs,
    version: node.version,
    host_name: node.hostName,
    boot_id: node.bootId,
    address: node.address,
    last_contact_ms: node.lastContactMs,
  };
}

function enrolmentOf({ node, userid, secret_hash, expire_ms, created_by }: StoredEnrolment): EnrolmentRecord {
  return {
    node,
    userid: userid as UserId,
    secretHash: secret_hash,
    expireMs: expire_ms,
    createdBy: created_by as AuthId,
  };
}
