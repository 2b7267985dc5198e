// The hook script of a backup, with vzdump's phases: it is called as `SCRIPT PHASE MODE VMID`, and for the job's phases as `SCRIPT PHASE`. One that fails before anything
// is done to the guest ends the backup; later on, when ending would harm, it is a warning.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestNode, Report } from '../../guests/guest-node.ts';
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { HOOK_TIMEOUT_MS, requireHookScript, runHookScript } from '../../util/hook-script.ts';

/** Fail and the backup ends. */
type PhaseBefore = 'job-init' | 'job-start' | 'backup-start' | 'pre-stop';
/** Fail and it is a warning. */
type PhaseAfter = 'pre-restart' | 'post-restart' | 'backup-end' | 'backup-abort' | 'log-end' | 'job-end' | 'job-abort';

const MAX_LOG_LINES = 10_000;

export interface HookRequest {
  readonly node: GuestNode;
  readonly id: GuestId;
  readonly mode: string;
  /** Absolute; undefined for none. */
  readonly script: string | undefined;
  /** Beside vzdump's `VMTYPE`, `HOSTNAME`, `TARGET` and `LOGFILE`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly report: Report;
  readonly signal: AbortSignal;
  /** Default `HOOK_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
}

export class BackupHooks {
  /** What is told through it is in the LOGFILE too. */
  readonly report: Report;
  readonly #request: HookRequest;
  readonly #path: string | undefined;
  readonly #lines: string[] = [];
  #environment: Record<string, string>;

  private constructor(request: HookRequest, path: string | undefined) {
    this.#request = request;
    this.#path = path;
    this.#environment = { ...request.environment };
    const { log, warn } = request.report;
    this.report =
      path === undefined
        ? request.report
        : {
            log: (line) => {
              this.#keep(`INFO: ${line}`);
              log(line);
            },
            warn: (line) => {
              this.#keep(`WARN: ${line}`);
              warn(line);
            },
          };
  }

  /** @throws what `requireHookScript` throws. */
  static async open(request: HookRequest): Promise<BackupHooks> {
    const path = request.script === undefined ? undefined : await requireHookScript(request.script);
    return new BackupHooks(request, path);
  }

  /** `job-init` and `job-start`, the work, `job-end` or `job-abort`. */
  async aroundJob<Result>(work: () => Promise<Result>): Promise<Result> {
    await this.before('job-init');
    return await this.#around(['job-start', 'job-end', 'job-abort'], work);
  }

  /** `backup-start`, the work, `backup-end` or `backup-abort`, and `log-end`. `targetOf` names what was made. */
  async aroundBackup<Result>(work: () => Promise<Result>, targetOf: (result: Result) => string): Promise<Result> {
    const { config } = await this.#request.node.configs.read(this.#request.id);
    this.#environment = {
      ...this.#environment,
      VMTYPE: 'qemu',
      HOSTNAME: config.values.get('name') ?? `VM ${this.#request.id}`,
    };
    try {
      return await this.#around(['backup-start', 'backup-end', 'backup-abort'], async () => {
        const result = await work();
        this.#environment = { ...this.#environment, TARGET: targetOf(result) };
        return result;
      });
    } finally {
      await this.#endLog();
    }
  }

  async #around<Result>(
    [start, end, abort]: readonly [PhaseBefore, PhaseAfter, PhaseAfter],
    work: () => Promise<Result>,
  ): Promise<Result> {
    let result: Result;
    try {
      await this.before(start);
      result = await work();
    } catch (error) {
      this.#keep(`ERROR: ${(error as Error).message}`);
      await this.after(abort);
      throw error;
    }
    await this.after(end);
    return result;
  }

  /** @throws `source-failed`, `timed-out`, `aborted`. */
  async before(phase: PhaseBefore): Promise<void> {
    await this.#run(phase, this.#request.signal);
  }

  /** Runs although the backup was aborted. */
  async after(phase: PhaseAfter): Promise<void> {
    try {
      await this.#run(phase, undefined);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.report.warn(error.message);
    }
  }

  async #run(phase: PhaseBefore | PhaseAfter, signal: AbortSignal | undefined): Promise<void> {
    if (this.#path === undefined) return;
    const { mode, id, timeoutMs = HOOK_TIMEOUT_MS } = this.#request;
    await runHookScript({
      path: this.#path,
      args: phase.startsWith('job-') ? [phase] : [phase, mode, String(id)],
      environment: this.#environment,
      log: (line) => this.report.log(`hook ${phase}: ${line}`),
      timeoutMs,
      signal,
    });
  }

  async #endLog(): Promise<void> {
    if (this.#path === undefined) return;
    const file = join(this.#request.node.directory.run(this.#request.id).path, 'backup.log');
    try {
      await writeFile(file, `${this.#lines.join('\n')}\n`, { mode: 0o600 });
      this.#environment = { ...this.#environment, LOGFILE: file };
    } catch (error) {
      this.report.warn(`there is no LOGFILE for the hook script: ${(error as Error).message}`);
    }
    await this.after('log-end');
    await rm(file, { force: true });
    const { LOGFILE: _gone, ...others } = this.#environment;
    this.#environment = others;
  }

  #keep(line: string): void {
    if (this.#lines.length < MAX_LOG_LINES) this.#lines.push(line);
  }
}
