// Prints one question's answer: its bars, then what every contender cost.
import type { Row } from './contender.ts';
import type { Answer, Bar, Question } from './question.ts';

export function printAnswer(question: Question, answer: Answer): void {
  const facts = Object.entries(answer.facts).map(([name, value]) => `${name} ${value}`);
  console.log(`\n## ${question.name}: ${question.title}${facts.length > 0 ? `\n${facts.join(', ')}` : ''}\n`);
  console.log(table(['bar', 'figure', 'wanted', 'met'], answer.bars.map(barCells)));
  if (answer.rows.length === 0) return;
  console.log();
  console.log(
    table(['contender', 'wall s', 'CPU s', 'RSS MiB', 'stored MiB', 'wall of each run, s'], answer.rows.map(rowCells)),
  );
}

function barCells(bar: Bar): string[] {
  const figure = bar.figure === null ? 'not measured' : `${shortNumber(bar.figure)}${bar.unit}`;
  return [bar.what, figure, `${bar.sense} ${shortNumber(bar.limit)}${bar.unit}`, bar.met ? 'yes' : 'no'];
}

function rowCells(row: Row): string[] {
  if (row.status !== 'ok' || row.median === undefined) return [row.name, `${row.status}: ${row.note ?? ''}`];
  const { wallS, cpuS, peakRssMiB, peakPssMiB } = row.median;
  const stored = row.extra.storedBytes ?? row.extra.bytesStored;
  return [
    row.name,
    wallS.toFixed(2),
    cpuS.toFixed(2),
    Math.max(peakRssMiB, peakPssMiB ?? 0).toFixed(0),
    stored === undefined ? '-' : (stored / 2 ** 20).toFixed(1),
    row.runs.map((usage) => usage.wallS.toFixed(2)).join(' '),
  ];
}

function shortNumber(value: number): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

/** Columns as wide as their longest cell; a row with fewer cells ends with its last one. */
function table(head: string[], rows: string[][]): string {
  const whole = rows.filter((row) => row.length === head.length);
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...(column === 0 ? rows : whole).map((row) => row[column].length)),
  );
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}
