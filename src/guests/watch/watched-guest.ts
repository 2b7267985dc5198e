// One guest as the watch sees it. It acts only with the guest's lock and while no backup has it: else somebody is at work who does the same at his end.
import type { GuestId } from '../../schema/guest-names.ts';
import { HoldfastError } from '../../util/errors.ts';
import { lockBackup, lockGuest } from '../guest-lock.ts';
import type { GuestNode, Report } from '../guest-node.ts';
import { openControlGroup } from '../qemu/control-group.ts';
import { findQemu } from '../qemu/qemu-process.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import { queryStatus } from '../qmp/qmp-types.ts';
import { isHeldStill, undoForgotten } from '../vm/held-still.ts';
import { releaseNetworks } from '../vm/networks.ts';
import { settle } from '../vm/put-away.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** A monitor that takes connections and ends them must not keep us busy. */
const RECONNECT_MS = 1_000;
const ENDS = new Set(['SHUTDOWN', 'GUEST_PANICKED']);

export class WatchedGuest {
  readonly #node: GuestNode;
  readonly #id: GuestId;
  readonly #report: Report;
  readonly #wake: () => void;
  #pid: number | undefined;
  #monitor: QmpClient | undefined;
  #isConnecting = false;
  #isOver = false;
  #lostAt = Number.NEGATIVE_INFINITY;
  /** It said that it ended, and is not put away yet. */
  #hasEnded = false;

  /** `wake` asks for a look at once. */
  constructor(node: GuestNode, id: GuestId, report: Report, wake: () => void) {
    this.#node = node;
    this.#id = id;
    this.#report = report;
    this.#wake = wake;
  }

  /** Does what there is to do. False when the guest does not run and nothing is left to do. */
  async look(): Promise<boolean> {
    const pid = await findQemu(this.#node.directory.run(this.#id));
    if (pid !== this.#pid) this.#forget();
    if (pid === undefined) return this.#pid !== undefined && !(await this.#tidyUp());
    if (pid !== this.#pid) this.#report.log(`VM ${this.#id} runs (process ${pid})`);
    this.#pid = pid;
    const isSoon = performance.now() - this.#lostAt < RECONNECT_MS;
    if (this.#monitor === undefined && !this.#isConnecting && !isSoon)
      this.#listen().catch((error: Error) => this.#report.warn(`VM ${this.#id}: ${error.message}`));
    if (this.#hasEnded) await this.#settle();
    await this.#undoForgotten();
    return true;
  }

  /** Also of a connection that is only being made. */
  close(): void {
    this.#isOver = true;
    this.#forget();
  }

  #forget(): void {
    this.#monitor?.close();
    this.#monitor = undefined;
    this.#hasEnded = false;
  }

  /** In the background: a monitor that hangs must not keep the others waiting. What fails is tried again at the next look. */
  async #listen(): Promise<void> {
    this.#isConnecting = true;
    try {
      const path = this.#node.directory.run(this.#id).eventMonitor;
      const monitor = await QmpClient.connect(path, { label: `VM ${this.#id}`, timeoutMs: CONNECT_TIMEOUT_MS });
      if (this.#isOver) return monitor.close();
      monitor.onEvent(({ name }) => {
        if (!ENDS.has(name)) return;
        this.#hasEnded = true;
        this.#wake();
      });
      const onClosed = (): void => {
        this.#lostAt = performance.now();
        if (this.#monitor === monitor) this.#monitor = undefined;
        this.#wake();
      };
      monitor.closed.then(onClosed, onClosed);
      this.#monitor = monitor;
      // It may have ended before anybody listened.
      if (['shutdown', 'guest-panicked'].includes((await queryStatus(monitor)).status)) this.#hasEnded = true;
      if (this.#hasEnded) this.#wake();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
    } finally {
      this.#isConnecting = false;
    }
  }

  async #settle(): Promise<void> {
    await this.#whenFree(async () => {
      // Before QEMU quits: its end is ours then, and no news.
      if (await settle(this.#node, this.#id, this.#report))
        this.#report.log(`VM ${this.#id} has ended and is put away`);
      this.#hasEnded = false;
    });
  }

  /** What a QEMU that was killed left on the host. True when it is done. */
  async #tidyUp(): Promise<boolean> {
    const isDone = await this.#whenFree(async () => {
      const run = this.#node.directory.run(this.#id);
      if ((await findQemu(run)) !== undefined) return;
      await releaseNetworks(this.#id);
      const group = await openControlGroup(this.#id, {}, { node: this.#node.directory.name });
      await group.kill();
      await group.remove();
      this.#report.log(`VM ${this.#id} does not run any more`);
      this.#pid = undefined;
    });
    return isDone && this.#pid === undefined;
  }

  async #undoForgotten(): Promise<void> {
    if (!(await isHeldStill(this.#node.directory.run(this.#id)))) return;
    const warn = (line: string): void => this.#report.warn(`VM ${this.#id}: ${line}`);
    await this.#whenFree(async () => await undoForgotten(this.#node, this.#id, { ...this.#report, warn }));
  }

  /** False when somebody else is at work on the guest. */
  async #whenFree(work: () => Promise<void>): Promise<boolean> {
    const held: { release(): void }[] = [];
    try {
      held.push(await lockBackup(this.#node.directory, this.#id, { waitMs: 0 }));
      held.push(await lockGuest(this.#node.directory, this.#id, { waitMs: 0 }));
      await work();
      return true;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'guest-locked') return false;
      throw error;
    } finally {
      for (const lock of held) lock.release();
    }
  }
}
