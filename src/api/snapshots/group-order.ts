// The order of groups in lists: containers, hosts, machines; ids that are numbers by their value, before those that are text.
import { parseGroup } from '../../schema/names.ts';

const TYPE_ORDER = ['ct', 'host', 'vm'];

/** A text that sorts as the groups of a namespace do. */
export function groupSortKey(group: string): string {
  const [type = '', id = ''] = parseGroup(group).split('/');
  const isNumber = /^(0|[1-9]\d{0,15})$/.test(id);
  return `${TYPE_ORDER.indexOf(type)}${isNumber ? `0${id.padStart(16, '0')}` : `1${id}`}`;
}
