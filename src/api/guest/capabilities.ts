// What a user may anywhere, sorted as the answer to a sign-in has it: clients show or hide what they offer by it.
import type { Privilege } from '../../auth/privileges.ts';

/** Part -> beginnings of the privileges that belong to it. */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  access: ['User.', 'Group.', 'Realm.', 'Permissions.'],
  dc: ['Sys.', 'SDN.'],
  mapping: ['Mapping.', 'Permissions.'],
  nodes: ['Sys.', 'Permissions.'],
  sdn: ['SDN.', 'Permissions.'],
  storage: ['Datastore.', 'Permissions.'],
  vms: ['VM.', 'Permissions.'],
};

/** Part -> privilege -> 1. Numbers, for clients take nothing else. */
export function capabilitiesOf(
  rights: ReadonlyMap<string, ReadonlyMap<Privilege, boolean>>,
): Record<string, Record<string, number>> {
  const all = [...new Set([...rights.values()].flatMap((each) => [...each.keys()]))].sort();
  return Object.fromEntries(
    Object.entries(PARTS).map(([part, beginnings]) => {
      const held = all.filter((privilege) => beginnings.some((each) => privilege.startsWith(each)));
      return [part, Object.fromEntries(held.map((privilege) => [privilege, 1]))];
    }),
  );
}
