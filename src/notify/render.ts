// An event as people read it: plain text with its table in columns, and simple HTML. Everything from outside is escaped.
import type { EventTable, NotifyEvent } from './event.ts';

const MAX_COLUMN = 60;

/** The text, and below it the table. */
export function plainText({ text, table }: Pick<NotifyEvent, 'text' | 'table'>): string {
  return [text.trimEnd(), ...(table === undefined ? [] : [plainTable(table)])]
    .filter((part) => part !== '')
    .join('\n\n');
}

export function html({ subject, text, table, severity }: NotifyEvent): string {
  const style = 'font-family:sans-serif;font-size:14px;color:#222';
  return [
    `<!DOCTYPE html><html><head><meta charset="utf-8"><title>${escapeHtml(subject)}</title></head><body style="${style}">`,
    `<p><b>${escapeHtml(subject)}</b> <span style="color:${COLORS[severity]}">(${severity})</span></p>`,
    text.trim() === '' ? '' : `<p>${escapeHtml(text.trim()).replaceAll('\n', '<br>\n')}</p>`,
    table === undefined ? '' : htmlTable(table),
    '</body></html>',
  ].join('\n');
}

const COLORS = { info: '#555', notice: '#226', warning: '#a60', error: '#b00' } as const;

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function plainTable({ columns, rows, right = [] }: EventTable): string {
  const widths = columns.map((name, column) =>
    Math.min(MAX_COLUMN, Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length))),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map((name, column) => {
        const [cell, width] = [cells[column] ?? '', widths[column] ?? 0];
        return right.includes(name) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(columns), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function htmlTable({ columns, rows, right = [] }: EventTable): string {
  const style = (name: string): string =>
    `padding:2px 8px;border:1px solid #ccc;text-align:${right.includes(name) ? 'right' : 'left'}`;
  const cells = (kind: 'th' | 'td', texts: readonly string[]): string =>
    columns.map((name, at) => `<${kind} style="${style(name)}">${escapeHtml(texts[at] ?? '')}</${kind}>`).join('');
  const head = `<tr>${cells('th', columns)}</tr>`;
  return `<table style="border-collapse:collapse">\n${head}\n${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}\n</table>`;
}
