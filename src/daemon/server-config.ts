// What a server is told at its start: options of the command line, over a JSON file, over what is usual.
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { type Static, Type } from 'typebox';
import { type QueueLimits, USUAL_LIMITS } from '../jobs/schedule/run-queue.ts';
import { HoldfastError } from '../util/errors.ts';
import { JsonShapeError, parseJson } from '../util/json-file.ts';
import type { CertificatePaths } from './certificate.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import { defaultStateDirectory } from './state-directory.ts';

const MAX_PORT = 65_535;

const ConfigFile = Type.Object(
  {
    stateDirectory: Type.Optional(Type.String({ minLength: 1 })),
    listen: Type.Optional(Type.String()),
    guestListen: Type.Optional(Type.String()),
    nodeDirectory: Type.Optional(Type.String({ minLength: 1 })),
    localAgent: Type.Optional(Type.Boolean()),
    bulkPort: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_PORT })),
    certificate: Type.Optional(Type.String({ minLength: 1 })),
    key: Type.Optional(Type.String({ minLength: 1 })),
    drainSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400 })),
    logLevel: Type.Optional(Type.Enum([...LOG_LEVELS])),
    /** Null: the server's own state is not backed up. */
    stateDatastore: Type.Optional(Type.Union([Type.String({ minLength: 1 }), Type.Null()])),
    jobLimits: Type.Optional(
      Type.Object(
        {
          all: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
          /** An agent does no more at once. */
          node: Type.Optional(Type.Integer({ minimum: 1, maximum: 4 })),
          datastore: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        },
        { additionalProperties: false },
      ),
    ),
    taskHistory: Type.Optional(
      Type.Object(
        {
          days: Type.Integer({ minimum: 1, maximum: 36_500 }),
          count: Type.Integer({ minimum: 100, maximum: 1_000_000 }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
type ConfigFile = Static<typeof ConfigFile>;

/** As the command line has them: texts, each of them optional. */
export interface ServerOptions {
  readonly config?: string | undefined;
  readonly stateDir?: string | undefined;
  readonly listen?: string | undefined;
  readonly guestListen?: string | undefined;
  readonly nodeDir?: string | undefined;
  /** Undefined when nothing is said. */
  readonly localAgent?: boolean | undefined;
  readonly bulkPort?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  readonly drain?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly firstDatastore?: string | undefined;
}

export interface ServerConfig {
  /** The file that it comes from, absolute. */
  readonly file: string | undefined;
  readonly stateDirectory: string;
  readonly host: string;
  readonly port: number;
  /** Of the guest dialect, where the server has guests. */
  readonly guestHost: string;
  readonly guestPort: number;
  /** Where this machine keeps its guests; without it the server has none, and no listener for them. */
  readonly nodeDirectory: string | undefined;
  /** An agent of this machine runs in the same process. */
  readonly localAgent: boolean;
  /** The bulk listener of the first datastore; those of others follow. 0 for any free ones. */
  readonly bulkPort: number;
  /** Undefined for the server's own. */
  readonly certificate: CertificatePaths | undefined;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
  /** Where the server's own state is backed up to: undefined for the first datastore, null for nowhere. */
  readonly stateDatastore: string | null | undefined;
  /** Runs of jobs at once. */
  readonly jobLimits: QueueLimits;
  readonly taskHistory: { readonly maxAgeDays: number; readonly maxCount: number };
  /** Name of a datastore that is made beside the state directory while there is none. */
  readonly firstDatastore: string | undefined;
}

const USUAL = {
  listen: '127.0.0.1:8007',
  guestListen: '127.0.0.1:8006',
  bulkPort: 8008,
  drainSeconds: 60,
  logLevel: 'info',
} as const;
const USUAL_HISTORY = { days: 90, count: 20_000 };

/** @throws `bad-argument` that names the option or the member of the file. */
export function serverConfig(options: ServerOptions): ServerConfig {
  const file = options.config === undefined ? {} : readConfigFile(options.config);
  const { host, port } = parseAddress(options.listen ?? file.listen ?? USUAL.listen);
  const guest = parseAddress(options.guestListen ?? file.guestListen ?? USUAL.guestListen, '--guest-listen');
  const { days, count } = file.taskHistory ?? USUAL_HISTORY;
  const nodeDirectory = options.nodeDir ?? file.nodeDirectory;
  return {
    file: options.config === undefined ? undefined : resolve(options.config),
    stateDirectory: resolve(options.stateDir ?? file.stateDirectory ?? defaultStateDirectory()),
    host,
    port,
    guestHost: guest.host,
    guestPort: guest.port,
    nodeDirectory: nodeDirectory === undefined ? undefined : resolve(nodeDirectory),
    localAgent: options.localAgent ?? file.localAgent ?? false,
    bulkPort: wholeNumber('--bulk-port', options.bulkPort, MAX_PORT) ?? file.bulkPort ?? USUAL.bulkPort,
    certificate: certificateOf(options.certificate ?? file.certificate, options.key ?? file.key),
    drainMs: 1000 * (wholeNumber('--drain', options.drain, 86_400) ?? file.drainSeconds ?? USUAL.drainSeconds),
    logLevel: logLevelOf(options.logLevel ?? file.logLevel ?? USUAL.logLevel),
    stateDatastore: file.stateDatastore,
    jobLimits: { ...USUAL_LIMITS, ...file.jobLimits },
    taskHistory: { maxAgeDays: days, maxCount: count },
    firstDatastore: options.firstDatastore,
  };
}

/** `127.0.0.1:8007`, `backup.example:8007`, `[::]:8007`. @throws `bad-argument`. */
export function parseAddress(text: string, option = '--listen'): { host: string; port: number } {
  const [, v6, name, digits] = /^(?:\[([^\]]{2,60})\]|([A-Za-z0-9.-]{1,253})):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const host = v6 ?? name;
  if (host !== undefined && port <= MAX_PORT && (v6 === undefined || isIPv6(v6.split('%')[0]))) return { host, port };
  throw new HoldfastError(
    'bad-argument',
    `${option} takes an address and a port, such as 127.0.0.1:8007 or [::]:8007, not ${JSON.stringify(text.slice(0, 100))}`,
  );
}

function readConfigFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new HoldfastError('bad-argument', `the configuration ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    return parseJson(text, ConfigFile);
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw new HoldfastError('bad-argument', `the configuration ${path} cannot be used: ${error.message}`, {
      cause: error,
    });
  }
}

function certificateOf(certificate: string | undefined, key: string | undefined): CertificatePaths | undefined {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) return { certificate: resolve(certificate), key: resolve(key) };
  throw new HoldfastError('bad-argument', 'a certificate needs its key: give both, --certificate and --key');
}

function wholeNumber(option: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  throw new HoldfastError(
    'bad-argument',
    `${option} takes a whole number from 0 to ${max}, not ${JSON.stringify(text)}`,
  );
}

export function logLevelOf(text: string): LogLevel {
  const level = LOG_LEVELS.find((each) => each === text);
  if (level !== undefined) return level;
  throw new HoldfastError('bad-argument', `--log-level takes ${LOG_LEVELS.join(', ')}, not ${JSON.stringify(text)}`);
}
