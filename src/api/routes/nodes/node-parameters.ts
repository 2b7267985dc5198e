// Names of nodes in calls, and what is needed to do something with one.
import { Type } from 'typebox';
import type { PrivilegeRule } from '../../method.ts';

/** Of a host with an agent. The server's own machine has the names of `NodeName`. */
export const AgentNodeName = Type.String({
  pattern: '^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$',
  maxLength: 58,
  description: 'Name of a host with an agent.',
});

/** `/system/nodes/NODE`. */
export function onNode(privilege: 'Sys.Audit' | 'Sys.Modify', of: string): PrivilegeRule {
  return { path: `/system/nodes/${of}`, anyOf: [privilege] };
}
