// The note of a backup from a template, with vzdump's variables: {{guestname}}, {{vmid}}, {{node}}, {{cluster}}.
import { HoldfastError } from '../util/errors.ts';

/** As Proxmox. */
const MAX_TEMPLATE_LENGTH = 1024;
const VARIABLES = ['cluster', 'guestname', 'node', 'vmid'] as const;

export type NoteVariables = Readonly<Record<(typeof VARIABLES)[number], string>>;

/** `\n` and `\\` stand for a new line and a backslash. @throws `bad-argument` for a variable that there is not; call it before the backup. */
export function checkNotesTemplate(template: string): string {
  if (template.length > MAX_TEMPLATE_LENGTH)
    throw new HoldfastError('bad-argument', `--notes-template takes at most ${MAX_TEMPLATE_LENGTH} characters`);
  const wrong = /\\(?![n\\])/.exec(template.replaceAll('\\\\', ''));
  if (wrong !== null)
    throw new HoldfastError('bad-argument', '--notes-template: write \\n for a new line and \\\\ for a backslash');
  for (const [, name = ''] of template.matchAll(/\{\{([^{}]*)\}\}/g))
    if (!VARIABLES.some((variable) => variable === name.trim()))
      throw new HoldfastError(
        'bad-argument',
        `--notes-template: there is no {{${name}}}; there are ${VARIABLES.map((variable) => `{{${variable}}}`).join(', ')}`,
      );
  return template;
}

/** Values are put in once: braces within them stay as they are. */
export function fillNotesTemplate(template: string, variables: NoteVariables): string {
  return template.replaceAll(/\\n|\\\\|\{\{\s*(\w+)\s*\}\}/g, (whole, name: keyof NoteVariables | undefined) => {
    if (name !== undefined) return variables[name];
    return whole === '\\n' ? '\n' : '\\';
  });
}
