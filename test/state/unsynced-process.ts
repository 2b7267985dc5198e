// Notes a task's beginning and end and what an agent said, and then a change of rights, with files between them that mark the places.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuthId } from '../../src/schema/auth-id.ts';
import { authTables } from '../../src/state/auth-tables.ts';
import { nodeTables } from '../../src/state/node-tables.ts';
import { StateDatabase } from '../../src/state/state-database.ts';
import { TaskTables } from '../../src/state/task-tables.ts';

const [directory] = process.argv.slice(2);
const mark = (name: string): void => writeFileSync(join(directory, name), '');
const state = StateDatabase.open(join(directory, 'state.db'));
const tasks = new TaskTables(state.db);
const { audit } = authTables(state);
const nodes = nodeTables(state.db);
const contact = { version: '', hostName: 'web1', bootId: '', address: '', lastContactMs: 1 };
const authId = 'root@pam!agent-web1' as AuthId;
nodes.put({ name: 'web1', authId, machineId: 'ab', enrolledMs: 1, ...contact });
const fields = { node: 'vm', pid: 1, pstart: 1, starttime: 1, type: 'gc', id: null, user: 'root@pam' };
mark('tasks');
tasks.add({ upid: 'a', ...fields, endtime: null, status: null, logNote: null, data: null });
tasks.end('a', { endtime: 2, status: 'OK', outcome: 'ok', logNote: null, data: null });
mark('contact');
nodes.heard('web1', { ...contact, lastContactMs: 2 });
mark('rights');
audit.append({ action: 'acl-set', by: 'root@pam', address: '', object: '/' });
mark('end');
