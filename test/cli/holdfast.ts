// Runs the built command line (npm run build) as users do: a process of its own, its exit code and what it printed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERROR_CODES, type ErrorCode } from '../../src/util/errors.ts';

/** Another build may be tested: HOLDFAST_PROGRAM names its holdfast.js. */
export const PROGRAM =
  process.env.HOLDFAST_PROGRAM ?? fileURLToPath(new URL('../../dist/holdfast.js', import.meta.url));
const TIMEOUT_MS = 60_000;

export interface Ran {
  /** Exit code; undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** As a user who is not root. */
  readonly asNobody?: boolean;
  /** For one that goes on as long as a test wants; default 60 s. */
  readonly timeoutMs?: number;
  /** A program that starts the other, with its arguments. */
  readonly through?: readonly string[];
}

export const NOBODY = 65534;
export const isRoot = process.getuid?.() === 0;

/** Starts the program; its stdin stays open unless `stdin` is given. */
export function start(args: readonly string[], options: RunOptions = {}): { child: ChildProcess; ended: Promise<Ran> } {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is not there: npm run build`);
  const [command, ...words] = [...(options.through ?? []), process.execPath, PROGRAM, ...args];
  const child = spawn(command, words, {
    cwd: options.cwd,
    // Whoever runs the tests may have a repository of their own.
    env: { ...process.env, HOLDFAST_REPOSITORY: '', HOLDFAST_KEYFILE: '', HOLDFAST_KEY_PASSPHRASE: '', ...options.env },
    ...(options.asNobody && isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const parts = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout!.on('data', (data: Buffer) => parts.stdout.push(data));
  child.stderr!.on('data', (data: Buffer) => parts.stderr.push(data));
  // It may end without reading what it is given.
  child.stdin!.on('error', () => {});
  if (options.stdin !== undefined) child.stdin!.end(options.stdin);
  const ended = new Promise<Ran>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`holdfast ${args.join(' ')} did not end: ${Buffer.concat(parts.stderr)}`));
    }, options.timeoutMs ?? TIMEOUT_MS);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      const stderr = Buffer.concat(parts.stderr).toString();
      resolve({ code: code ?? undefined, stdout: Buffer.concat(parts.stdout), stderr });
    });
  });
  return { child, ended };
}

export async function holdfast(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return await start(args, { stdin: new Uint8Array(0), ...options }).ended;
}

/** Somewhere to restore from and to, gone after the test. */
export interface Place {
  readonly directory: string;
  readonly repository: string;
  path(name: string): string;
  /** Runs with the place's repository and expects success. */
  run(...args: string[]): Promise<Ran>;
  /** The same, and reads its JSON. */
  json<Value>(...args: string[]): Promise<Value>;
  /** Runs and expects exactly this error; returns its message. */
  fails(code: ErrorCode, ...args: string[]): Promise<string>;
  try(args: readonly string[], options?: RunOptions): Promise<Ran>;
}

/** What of a test, or of a suite, is needed here. */
export interface Ending {
  after(ended: () => void): void;
}

export async function newPlace(t: Ending, options: { create?: boolean; base?: string } = {}): Promise<Place> {
  const directory = mkdtempSync(join(options.base ?? tmpdir(), 'hft-cli-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  if (isRoot) chownSync(directory, NOBODY, NOBODY);
  const repository = join(directory, 'store');
  const place = placeIn(directory, repository, {
    HOLDFAST_REPOSITORY: repository,
    HOLDFAST_STATE_DIR: join(directory, 'state'),
  });
  if (options.create ?? true) await place.run('datastore', 'create');
  return place;
}

/** A place whose commands have these variables in their environment. */
export function placeIn(directory: string, repository: string, env: Readonly<Record<string, string>>): Place {
  const place: Place = {
    directory,
    repository,
    path: (name) => join(directory, name),
    try: (args, more = {}) => holdfast(args, { ...more, env: { ...env, ...more.env } }),
    run: async (...args) => {
      const ran = await place.try(args);
      assert.equal(ran.code, 0, `holdfast ${args.join(' ')}: ${ran.stderr}`);
      return ran;
    },
    json: async (...args) => JSON.parse((await place.run(...args, '--output-format', 'json')).stdout.toString()),
    fails: async (code, ...args) => messageOf(await place.try([...args, '--output-format', 'json']), code),
  };
  return place;
}

/** Checks that a command with JSON output failed in exactly this way, on stderr only; returns the message. */
export function messageOf(ran: Ran, code: ErrorCode): string {
  const last = ran.stderr.trimEnd().split('\n').at(-1) ?? '';
  assert.match(last, /^\{"error":/, `code ${ran.code}, ${ran.stderr}`);
  const { error } = JSON.parse(last) as { error: { code: string; message: string } };
  assert.equal(error.code, code, error.message);
  assert.equal(ran.code, ERROR_CODES[code][1]);
  assert.equal(ran.stdout.length, 0, 'nothing is printed as a result');
  assert.ok(error.message.length > 10);
  return error.message;
}

export interface BackupJson {
  readonly snapshot: string;
  readonly sequence: number;
  readonly bytesLogical: number;
  readonly bytesRead: number;
  readonly bytesSampled: number;
  readonly bytesNew: number;
  readonly bytesStored: number;
  readonly objectsNew: number;
  readonly objectsReused: number;
  readonly objectsAdopted: number;
  readonly durationMs: number;
}

export interface ListedJson {
  readonly snapshot: string;
  readonly time: number;
  readonly sequence: number | null;
  readonly bytes: number | null;
  readonly archives: readonly string[];
  readonly protected: boolean;
  readonly suspectClock: boolean;
  readonly damaged: boolean;
  readonly notes: string;
  readonly error: string | null;
}

/** The snapshots that `list` names. */
export async function listed(place: Place, ...args: string[]): Promise<string[]> {
  return (await place.json<ListedJson[]>('snapshot', 'list', ...args)).map((row) => row.snapshot);
}
