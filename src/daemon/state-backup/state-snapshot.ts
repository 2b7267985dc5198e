// What a snapshot of the server's own state is called and made of: what a backup writes and a restore looks for.
import { type Static, Type } from 'typebox';
import { type GroupName, parseGroup } from '../../schema/names.ts';

const GROUP = /^host\/.+-holdfast-state$/;

/** Archives of the snapshot. */
export const STATE_ARCHIVES = {
  about: 'about.json',
  database: 'state.img',
  certificate: 'certificate.blob',
  key: 'key.blob',
  /** Only of a server that has a configuration file. */
  config: 'config.json',
} as const;

export const StateAbout = Type.Object({
  format: Type.Literal(1),
  node: Type.String({ maxLength: 64 }),
  /** RFC 3339. */
  created: Type.String({ maxLength: 32 }),
  stateDirectory: Type.String({ maxLength: 4096 }),
  /** Null for a server without one. */
  configFile: Type.Union([Type.String({ maxLength: 4096 }), Type.Null()]),
});
export type StateAbout = Static<typeof StateAbout>;

/** `host/NODE-holdfast-state`. */
export function stateGroupOf(node: string): GroupName {
  return parseGroup(`host/${node}-holdfast-state`);
}

export function isStateGroup(group: GroupName): boolean {
  return GROUP.test(group);
}
