// Ids of this host's users and groups, for ACLs of archives that were made without --numeric-owner: what tar would do when it unpacks them here.
import { readFileSync } from 'node:fs';
import type { ResolveName } from '../tree/ids/posix-acl.ts';

/** Reads /etc/passwd and /etc/group when the first name is asked for; a file that cannot be read knows nobody. */
export function hostNames(): ResolveName {
  const tables = new Map<string, Map<string, number>>();
  return (kind, name) => {
    let table = tables.get(kind);
    if (table === undefined) {
      table = readTable(kind === 'user' ? '/etc/passwd' : '/etc/group');
      tables.set(kind, table);
    }
    return table.get(name);
  };
}

function readTable(path: string): Map<string, number> {
  const table = new Map<string, number>();
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // Whoever asks then says which name is not known.
    return table;
  }
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':');
    if (name !== undefined && id !== undefined && /^\d+$/.test(id)) table.set(name, Number(id));
  }
  return table;
}
