// Programs in a guest, in the words of its agent: what guest-exec is sent, and what guest-exec-status answers.

/** The arguments of guest-exec: a program, its arguments, and what it reads. */
export function execRequest(
  [path, ...args]: readonly string[],
  input: Uint8Array | undefined,
): Record<string, unknown> {
  return {
    path,
    arg: args,
    'capture-output': true,
    ...(input && { 'input-data': Buffer.from(input).toString('base64') }),
  };
}

/** The answer of guest-exec-status. */
export interface ExecStatus {
  readonly exited?: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  /** What it wrote so far, in base64; `outputOf` reads it. */
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
  readonly 'out-truncated'?: boolean;
  readonly 'err-truncated'?: boolean;
}

/** Undefined for a program that wrote nothing. */
export function outputOf(data: string | undefined): string | undefined {
  return data === undefined ? undefined : Buffer.from(data, 'base64').toString();
}
