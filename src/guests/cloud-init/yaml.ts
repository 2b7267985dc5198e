// Writes plain data as YAML in blocks. Every string that is not plainly a word is quoted, so that whatever is in it stays data in YAML 1.1
// and 1.2 alike.

export type YamlValue =
  | string
  | number
  | boolean
  | readonly YamlValue[]
  | { readonly [key: string]: YamlValue | undefined };

/** Words that a YAML 1.1 parser takes for something else than text. */
const OTHER_WORDS = /^(y|yes|n|no|true|false|on|off|null|nan|inf)$/i;

/** A document; keys are ours, and plain. What is undefined is left out. */
export function writeYaml(value: YamlValue): string {
  return `${block(value, '').join('\n')}\n`;
}

function block(value: YamlValue, indent: string): string[] {
  if (isList(value)) return value.flatMap((item) => listItem(item, indent));
  if (typeof value === 'object')
    return Object.entries(value).flatMap(([key, held]) => (held === undefined ? [] : entry(key, held, indent)));
  return [indent + scalar(value)];
}

function entry(key: string, value: YamlValue, indent: string): string[] {
  if (typeof value !== 'object') return [`${indent}${key}: ${scalar(value)}`];
  if (isEmpty(value)) return [`${indent}${key}: ${isList(value) ? '[]' : '{}'}`];
  return [`${indent}${key}:`, ...block(value, `${indent}  `)];
}

function listItem(item: YamlValue, indent: string): string[] {
  if (typeof item !== 'object') return [`${indent}- ${scalar(item)}`];
  const [first = '{}', ...rest] = block(item, `${indent}  `);
  return [`${indent}- ${first.trimStart()}`, ...rest];
}

function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  if (/^[A-Za-z][A-Za-z0-9_.-]*$/.test(value) && !OTHER_WORDS.test(value)) return value;
  // JSON's strings are YAML's, but for characters that YAML does not print or takes for ends of lines, and halves of pairs.
  return JSON.stringify(value.replace(/\p{Surrogate}/gu, '\ufffd')).replace(
    /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function isList(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}

function isEmpty(value: object): boolean {
  return Object.values(value).every((held) => held === undefined);
}
