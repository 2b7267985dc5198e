// The house rules that a compiler does not hold: imports point one way between the folders of src/, files do not import each other in
// a circle, and no file grows past what one idea takes.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** What each folder may import besides itself, `util` and `schema`. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  util: [],
  schema: [],
  chunker: [],
  datastore: ['chunker'],
  transport: ['chunker', 'datastore'],
  agent: ['chunker', 'transport', 'guests'],
  nodes: ['transport'],
  guests: [],
  jobs: [],
  auth: [],
  notify: [],
  state: ['auth', 'jobs', 'nodes', 'notify'],
  daemon: ['datastore', 'transport', 'agent', 'guests', 'jobs', 'auth', 'state', 'api', 'notify'],
  replication: ['datastore', 'transport'],
  api: ['datastore', 'transport', 'agent', 'guests', 'jobs', 'nodes', 'replication', 'auth', 'notify'],
  cli: ['chunker', 'datastore', 'transport', 'agent', 'guests', 'auth', 'state', 'nodes', 'notify', 'daemon'],
};

/** Open to all folders; they may import only these of ours. */
const LEAVES: Readonly<Record<string, readonly string[]>> = { util: [], schema: ['util'] };

/** Of these a folder takes types only: it knows the interface, and is given the thing. */
const INTERFACE_ONLY: Readonly<Record<string, readonly string[]>> = {
  transport: ['datastore'],
  replication: ['datastore'],
  cli: ['chunker'],
  state: ['auth', 'jobs', 'nodes', 'notify'],
  api: ['nodes'],
};

/** The commands that start the server and the agent are where their composition roots are called from. */
const EXCEPTIONS = new Set<string>([
  'src/cli/commands/server.ts -> src/server.ts',
  'src/cli/commands/agent.ts -> src/agent.ts',
  'src/cli/commands/agent.ts -> src/server.ts',
]);

/** Composition roots: they build what the folders need and may import everything. */
const ROOTS = new Set(['src/worker.ts', 'src/server.ts', 'src/agent.ts']);

const MAX_LINES = 500;

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

/** The local imports of a file: static, re-exported, dynamic, and of types. */
function importsOf(path: string, text: string): Import[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, false);
  const found: Import[] = [];
  const note = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith('.')) return;
    found.push({ from: path, to: normalize(join(dirname(path), specifier.text)), typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) note(node.moduleSpecifier, isTypeOnly(node.importClause));
    else if (ts.isExportDeclaration(node)) note(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) note(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      note(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const names = clause.namedBindings;
  return (
    clause.name === undefined &&
    names !== undefined &&
    ts.isNamedImports(names) &&
    names.elements.every((each) => each.isTypeOnly)
  );
}

/** `src/agent/nbd/client.ts` -> `agent`; undefined for a file of src/ itself. */
function folderOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

function wrongDirections(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to, typeOnly }) => {
      const [folder, target] = [folderOf(from), folderOf(to)];
      if (ROOTS.has(from) || EXCEPTIONS.has(`${from} -> ${to}`)) return false;
      if (folder === undefined || target === undefined) return true;
      if (folder === target) return false;
      const leaf = LEAVES[folder];
      if (leaf !== undefined) return !leaf.includes(target);
      if (target in LEAVES) return !(folder in MAY_IMPORT);
      if (INTERFACE_ONLY[folder]?.includes(target) && !typeOnly) return true;
      return !MAY_IMPORT[folder]?.includes(target);
    })
    .map(({ from, to }) => `${from} -> ${to}`);
}

/** Files that import each other in a circle. Types count: who reads one file of a circle has to know all of it. */
function circles(imports: readonly Import[]): string[][] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  const found: string[][] = [];
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      found.push([...trail.slice(at), path]);
      return;
    }
    if (done.has(path)) return;
    for (const next of targets.get(path) ?? []) walk(next, [...trail, path]);
    done.add(path);
  };
  for (const path of targets.keys()) walk(path, []);
  return found;
}

function tooLong(files: ReadonlyMap<string, string>): string[] {
  return [...files].filter(([, text]) => text.trimEnd().split('\n').length > MAX_LINES).map(([path]) => path);
}

const root = fileURLToPath(new URL('..', import.meta.url));

function filesBelow(folder: string): Map<string, string> {
  const names = readdirSync(join(root, folder), { recursive: true }) as string[];
  const paths = names.filter((name) => /\.(ts|mjs)$/.test(name)).map((name) => join(folder, name));
  return new Map(paths.sort().map((path) => [path, readFileSync(join(root, path), 'utf8')]));
}

// AssemblyScript is another language: it has no imports of ours.
const sources = new Map([...filesBelow('src')].filter(([path]) => !path.startsWith('src/chunker/wasm/')));
const imports = [...sources].flatMap(([path, text]) => importsOf(path, text));

test('imports between folders go only where the table lets them', () => {
  assert.ok(imports.length > 100);
  assert.deepEqual(wrongDirections(imports), []);
});

test('every import is of a file that is there, and every exception and root is still needed', () => {
  assert.deepEqual(
    imports.filter(({ to }) => !sources.has(to)).map(({ from, to }) => `${from} -> ${to}`),
    [],
  );
  const all = new Set(imports.map(({ from, to }) => `${from} -> ${to}`));
  assert.deepEqual(
    [...EXCEPTIONS].filter((each) => !all.has(each)),
    [],
  );
});

test('no file imports itself through others', () => {
  assert.deepEqual(circles(imports), []);
});

test('no file of ours is longer than 500 lines', () => {
  assert.deepEqual(
    ['src', 'test', 'bench', 'scripts'].flatMap((folder) => tooLong(filesBelow(folder))),
    [],
  );
});

test('the checks find what they are for', () => {
  const path = 'src/datastore/packs/x.ts';
  const text = `
    import { a } from '../../chunker/a.ts';
    import type { B } from '../../agent/b.ts';
    import { type C, type D } from '../../cli/c.ts';
    import '../../util/side-effect.ts';
    export { e } from '../../transport/e.ts';
    export * from './own.ts';
    import fs from 'node:fs';
    const f = await import('../../agent/f.ts');
    type G = import('../../api/g.ts').G;
    // import { no } from '../../agent/comment.ts';
    const text = "import { no } from '../../agent/text.ts'";
  `;
  const found = importsOf(path, text);
  assert.deepEqual(
    found.map(({ to, typeOnly }) => `${to}${typeOnly ? ' (type)' : ''}`),
    [
      'src/chunker/a.ts',
      'src/agent/b.ts (type)',
      'src/cli/c.ts (type)',
      'src/util/side-effect.ts',
      'src/transport/e.ts',
      'src/datastore/packs/own.ts',
      'src/agent/f.ts',
      'src/api/g.ts (type)',
    ],
  );
  assert.deepEqual(wrongDirections(found), [
    `${path} -> src/agent/b.ts`,
    `${path} -> src/cli/c.ts`,
    `${path} -> src/transport/e.ts`,
    `${path} -> src/agent/f.ts`,
    `${path} -> src/api/g.ts`,
  ]);
});

test('the table holds for leaves, roots, interfaces and folders that nobody named', () => {
  const verdict = (from: string, to: string, typeOnly = false) =>
    wrongDirections([{ from, to, typeOnly }]).length === 0;
  assert.ok(verdict('src/schema/a.ts', 'src/util/b.ts'));
  assert.ok(!verdict('src/util/a.ts', 'src/schema/b.ts'));
  assert.ok(!verdict('src/util/a.ts', 'src/chunker/b.ts', true));
  assert.ok(!verdict('src/schema/a.ts', 'src/chunker/b.ts'));
  assert.ok(verdict('src/worker.ts', 'src/agent/b.ts'));
  assert.ok(!verdict('src/other.ts', 'src/agent/b.ts'));
  assert.ok(!verdict('src/agent/a.ts', 'src/worker.ts'));
  assert.ok(!verdict('src/agent/a.ts', 'src/datastore/b.ts', true));
  assert.ok(!verdict('src/datastore/a.ts', 'src/agent/b.ts'));
  assert.ok(!verdict('src/chunker/a.ts', 'src/datastore/b.ts'));
  assert.ok(verdict('src/transport/a.ts', 'src/datastore/b.ts', true));
  assert.ok(!verdict('src/transport/a.ts', 'src/datastore/b.ts'));
  assert.ok(verdict('src/cli/a.ts', 'src/datastore/b.ts'));
  assert.ok(!verdict('src/helpers/a.ts', 'src/util/b.ts'));
  assert.ok(!verdict('src/helpers/a.ts', 'src/chunker/b.ts'));
});

test('circles are found at any length, of types too', () => {
  const edge = (from: string, to: string, typeOnly = false): Import => ({ from, to, typeOnly });
  assert.deepEqual(circles([edge('a', 'b'), edge('b', 'c'), edge('a', 'c')]), []);
  assert.deepEqual(circles([edge('a', 'a')]), [['a', 'a']]);
  assert.deepEqual(circles([edge('x', 'a'), edge('a', 'b'), edge('b', 'c'), edge('c', 'a')]), [['a', 'b', 'c', 'a']]);
  assert.deepEqual(circles([edge('a', 'b'), edge('b', 'a', true)]), [['a', 'b', 'a']]);
});

test('length counts lines, not the newline at the end', () => {
  const lines = (count: number) => 'x\n'.repeat(count);
  assert.deepEqual(
    tooLong(
      new Map([
        ['a', lines(500)],
        ['b', lines(501)],
        ['c', ''],
      ]),
    ),
    ['b'],
  );
});
