// Formatting by biome beside types and promise rules, which share one program: each alone would check all types again. Ends with 1 when
// one of them found something.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
/** What the compiler knows of the files when all of them were well. */
const SEEN = `${root}.cache/check.tsbuildinfo`;

async function formatting() {
  const child = spawn(`${root}node_modules/.bin/biome`, ['ci'], { stdio: ['ignore', 'inherit', 'inherit'] });
  const [status] = await once(child, 'close');
  return status === 0;
}

async function typesAndPromises() {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) };
  const config = ts.getParsedCommandLineOfConfigFile('tsconfig.json', { incremental: true, tsBuildInfoFile: SEEN }, host);
  const { fileNames, options } = config;
  const compiler = ts.createIncrementalCompilerHost(options);
  const before = isOutdated() ? undefined : ts.readBuilderProgram(options, compiler);
  const builder = ts.createSemanticDiagnosticsBuilderProgram(fileNames, options, compiler, before);
  const program = builder.getProgram();
  const changed = filesToLookAt(builder);
  const languageOptions = { parserOptions: { projectService: false, programs: [program] } };
  const eslint = new ESLint({ overrideConfig: { languageOptions } });
  const found = changed.length === 0 ? [] : await eslint.lintFiles(changed);
  const formatter = await eslint.loadFormatter('stylish');
  console.error(await formatter.format(found));
  const problems = ts.getPreEmitDiagnostics(builder);
  report(problems);
  const isSound = problems.length === 0 && found.every(({ errorCount, warningCount }) => errorCount + warningCount === 0);
  // What was found wrong is looked at again, changed or not.
  if (isSound) builder.emit();
  return isSound;
}

/** By other rules, or with other packages, all files are looked at again. */
function isOutdated() {
  const timeOf = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return ['eslint.config.js', 'package-lock.json', fileURLToPath(import.meta.url)].some((path) => timeOf(path) > timeOf(SEEN));
}

/** Of ours, those that changed since all was well, or that use types which did; all of them the first time, and in CI. */
function filesToLookAt(builder) {
  const files = new Set();
  for (;;) {
    const next = builder.getSemanticDiagnosticsOfNextAffectedFile();
    if (next === undefined) break;
    const affected = 'fileName' in next.affected ? [next.affected] : next.affected.getSourceFiles();
    for (const { fileName } of affected) files.add(fileName);
  }
  return [...files].filter((name) => !name.includes('/node_modules/'));
}

function report(diagnostics) {
  const names = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => root, getNewLine: () => '\n' };
  if (diagnostics.length > 0) console.error(ts.formatDiagnosticsWithColorAndContext(diagnostics, names));
}

const [isFormatted, isSound] = await Promise.all([formatting(), typesAndPromises()]);
if (!isFormatted) console.error('check: biome failed');
if (!isSound) console.error('check: types or promise rules failed');
process.exit(isFormatted && isSound ? 0 : 1);
