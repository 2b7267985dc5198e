// One console of a guest, from the moment that it is given out until its client, its guest or somebody else ends it: its task runs as long.
import type { TaskWork } from '../../../jobs/tasks/task.ts';
import type { AuthId } from '../../../schema/auth-id.ts';
import { HoldfastError } from '../../../util/errors.ts';

export interface ConsoleWish {
  readonly authId: AuthId;
  readonly vmid: number;
  /** Of the serial port. */
  readonly serial: number;
}

export class GuestConsole implements ConsoleWish {
  readonly authId: AuthId;
  readonly vmid: number;
  readonly serial: number;
  readonly port: number;
  readonly ticket: string;
  /** Why it ended, for people. */
  readonly over: Promise<string>;
  readonly #timer: NodeJS.Timeout;
  #state: 'offered' | 'taken' | 'over' = 'offered';
  #wasTaken = false;
  #settle!: (reason: string) => void;

  /** It is over when nobody takes it within `takenWithinMs`. */
  constructor(wish: ConsoleWish, place: { readonly port: number; readonly ticket: string }, takenWithinMs: number) {
    this.authId = wish.authId;
    this.vmid = wish.vmid;
    this.serial = wish.serial;
    this.port = place.port;
    this.ticket = place.ticket;
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#timer = setTimeout(() => this.end(`no client came within ${takenWithinMs / 1000} s`), takenWithinMs);
  }

  get state(): 'offered' | 'taken' | 'over' {
    return this.#state;
  }

  /** Of one that is offered: its client is there. */
  take(): void {
    clearTimeout(this.#timer);
    this.#state = 'taken';
    this.#wasTaken = true;
  }

  /** Only the first reason counts. */
  end(reason: string): void {
    clearTimeout(this.#timer);
    this.#state = 'over';
    this.#settle(reason);
  }

  /** Its task. @throws `timed-out` when no client came, `aborted`. */
  async run(work: TaskWork): Promise<void> {
    const abort = (): void => this.end('the task was aborted');
    work.signal.addEventListener('abort', abort, { once: true });
    work.log(`a console on serial${this.serial} of VM ${this.vmid} waits for its client`);
    const reason = await this.over;
    work.signal.removeEventListener('abort', abort);
    work.signal.throwIfAborted();
    if (!this.#wasTaken) throw new HoldfastError('timed-out', reason);
    work.log(reason);
  }
}
