// The catalogue of every error that Holdfast raises on purpose: one code, one family, one place.
// Families: `caller` = the request is wrong (exit 2), `world` = disk, network, lock or data failed (exit 3 or as listed),
// anything else is our bug (exit 70). Nobody parses message text; programs use `code` and `data`.

export type ErrorFamily = 'caller' | 'world';

/** Code -> [family, CLI exit code]. docs/operations.md holds the same table; a test compares them. */
export const ERROR_CODES = {
  'bad-argument': ['caller', 2],
  'bad-name': ['caller', 2],
  'bad-change-map': ['caller', 2],
  'not-found': ['caller', 4],
  exists: ['caller', 5],
  protected: ['caller', 6],
  'not-owner': ['caller', 7],
  'target-unfit': ['caller', 8],
  'out-of-scope': ['caller', 9],
  'too-large': ['caller', 10],
  'too-many': ['caller', 11],
  'retention-locked': ['caller', 12],
  'quota-exceeded': ['caller', 13],
  'key-missing': ['caller', 14],
  'key-wrong': ['caller', 15],
  'passphrase-wrong': ['caller', 16],
  'key-unacknowledged': ['caller', 17],
  'permission-denied': ['caller', 18],
  'not-allowed': ['caller', 19],
  'datastore-foreign': ['world', 20],
  'datastore-newer': ['world', 21],
  'datastore-locked': ['world', 22],
  'datastore-read-only': ['world', 23],
  'datastore-damaged': ['world', 24],
  'manifest-altered': ['world', 25],
  'object-missing': ['world', 26],
  'object-damaged': ['world', 27],
  'disk-full': ['world', 28],
  'write-failed': ['world', 29],
  'pack-condemned': ['world', 30],
  'source-failed': ['world', 31],
  'source-changed': ['world', 32],
  'target-failed': ['world', 33],
  'tool-missing': ['world', 34],
  'timed-out': ['world', 35],
  'datastore-maintenance': ['world', 37],
  'key-damaged': ['world', 38],
  'snapshot-older': ['world', 39],
  'task-failed': ['world', 46],
  'not-authenticated': ['world', 40],
  'login-throttled': ['world', 41],
  'session-gone': ['world', 42],
  'server-unreachable': ['world', 43],
  'server-untrusted': ['world', 44],
  'protocol-failed': ['world', 45],
  'node-offline': ['world', 47],
  'node-duplicate': ['world', 48],
  'node-foreign': ['world', 49],
  'guest-locked': ['world', 50],
  'guest-running': ['world', 51],
  'guest-stopped': ['world', 52],
  'guest-failed': ['world', 53],
  'guest-agent-silent': ['world', 54],
  'config-changed': ['world', 55],
  aborted: ['world', 130],
} as const satisfies Record<string, readonly [ErrorFamily, number]>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Exit code for an error that is not in the catalogue: a bug of ours (EX_SOFTWARE). */
export const EXIT_BUG = 70;

/** An error with a stable code. The message says what failed, on which object, and what to do. */
export class HoldfastError extends Error {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; data?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HoldfastError';
    this.code = code;
    this.data = options.data ?? {};
  }

  get family(): ErrorFamily {
    return ERROR_CODES[this.code][0];
  }
}

/** The exit code that the CLI ends with for an error (docs/operations.md has the table). */
export function exitCodeOf(error: unknown): number {
  return error instanceof HoldfastError ? ERROR_CODES[error.code][1] : EXIT_BUG;
}

/** The `code` of a Node system error (`ENOSPC`, `EIO`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}
