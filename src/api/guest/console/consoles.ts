// The consoles that are given out or open. Each has a port and a ticket, which clients of Proxmox VE show when they connect; the port is a number
// and nothing listens there. A serial port of QEMU has one client: who comes last has it.
import { randomBytes } from 'node:crypto';
import type { AuthId } from '../../../schema/auth-id.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { ApiError } from '../../dialect/failure.ts';
import { type ConsoleWish, GuestConsole } from './guest-console.ts';

export const FIRST_PORT = 5900;
export const LAST_PORT = 5999;
const TAKEN_WITHIN_MS = 10_000;
const RIGHTS_EVERY_MS = 10_000;
const TICKET_BYTES = 32;

/** What a client shows when it connects. */
export interface ShownConsole {
  readonly authId: AuthId;
  readonly vmid: number;
  readonly port: number;
  readonly ticket: string;
}

export interface ConsoleTimes {
  readonly takenWithinMs?: number;
  /** How often a console that is open is held against the rights of its client. */
  readonly rightsEveryMs?: number;
}

export class Consoles {
  readonly rightsEveryMs: number;
  readonly #takenWithinMs: number;
  readonly #byPort = new Map<number, GuestConsole>();

  constructor({ takenWithinMs = TAKEN_WITHIN_MS, rightsEveryMs = RIGHTS_EVERY_MS }: ConsoleTimes = {}) {
    this.rightsEveryMs = rightsEveryMs;
    this.#takenWithinMs = takenWithinMs;
  }

  /** @throws `too-many`. */
  offer(wish: ConsoleWish): GuestConsole {
    let port = FIRST_PORT;
    while (this.#byPort.has(port)) port++;
    if (port > LAST_PORT) throw new HoldfastError('too-many', `${this.#byPort.size} consoles are open: end one`);
    const time = Math.floor(Date.now() / 1000)
      .toString(16)
      .toUpperCase();
    // No character of it means something else in a query: clients send it as it is.
    const ticket = `PVEVNC:${time}::${randomBytes(TICKET_BYTES).toString('base64url')}`;
    const console = new GuestConsole(wish, { port, ticket }, this.#takenWithinMs);
    this.#byPort.set(port, console);
    console.over.then(
      () => this.#byPort.delete(port),
      () => undefined,
    );
    return console;
  }

  /** One that was given to this caller, for this guest, and that nobody took. @throws ApiError 401. */
  find({ authId, vmid, port, ticket }: ShownConsole): GuestConsole {
    const found = this.#byPort.get(port);
    const isFree = found?.state === 'offered' && found.authId === authId && found.vmid === vmid;
    if (!isFree || found.ticket !== ticket)
      throw new ApiError(401, 'not-authenticated', 'permission denied - invalid PVEVNC ticket');
    return found;
  }

  /** The same, for good. Whoever else has the serial port loses it. @throws ApiError 401. */
  take(shown: ShownConsole): GuestConsole {
    const console = this.find(shown);
    for (const other of this.#byPort.values())
      if (other.state === 'taken' && other.vmid === console.vmid && other.serial === console.serial)
        other.end(`${console.authId} opened another console on the same port`);
    console.take();
    return console;
  }

  /** Ends all of them. */
  close(): void {
    for (const console of this.#byPort.values()) console.end('the server is stopping');
  }
}
