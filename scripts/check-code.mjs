// Formatting by biome beside types and promise rules, which share one program: each alone would check all types again. Ends with 1 when
// one of them found something.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

async function formatting() {
  const child = spawn(`${root}node_modules/.bin/biome`, ['ci'], { stdio: ['ignore', 'inherit', 'inherit'] });
  const [status] = await once(child, 'close');
  return status === 0;
}

async function typesAndPromises() {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) };
  const { fileNames, options } = ts.getParsedCommandLineOfConfigFile('tsconfig.json', {}, host);
  const program = ts.createProgram(fileNames, options);
  const languageOptions = { parserOptions: { projectService: false, programs: [program] } };
  const eslint = new ESLint({ overrideConfig: { languageOptions } });
  const found = await eslint.lintFiles(['src', 'test', 'bench', 'scripts']);
  const formatter = await eslint.loadFormatter('stylish');
  console.error(await formatter.format(found));
  const problems = ts.getPreEmitDiagnostics(program);
  report(problems);
  return problems.length === 0 && found.every(({ errorCount, warningCount }) => errorCount + warningCount === 0);
}

function report(diagnostics) {
  const names = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => root, getNewLine: () => '\n' };
  if (diagnostics.length > 0) console.error(ts.formatDiagnosticsWithColorAndContext(diagnostics, names));
}

const [isFormatted, isSound] = await Promise.all([formatting(), typesAndPromises()]);
if (!isFormatted) console.error('check: biome failed');
if (!isSound) console.error('check: types or promise rules failed');
process.exit(isFormatted && isSound ? 0 : 1);
