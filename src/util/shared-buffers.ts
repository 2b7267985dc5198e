// Named SharedArrayBuffers that any thread may add while the others run. A BroadcastChannel carries each new buffer;
// receivers read it synchronously, so a thread can pick up a buffer in the middle of a computation.
import { BroadcastChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';

interface Announcement {
  readonly name: string;
  readonly buffer: SharedArrayBuffer;
}

/** How long `get` waits for a buffer whose name is already known to exist: delivery is synchronous, so this is a bug's bound. */
const DELIVERY_TIMEOUT_MS = 10_000;

export class SharedBuffers {
  readonly channelName: string;
  readonly #channel: BroadcastChannel;
  readonly #buffers = new Map<string, SharedArrayBuffer>();

  /** Threads that share use the same `channelName`. Create it in a thread before that thread is given `snapshot()`. */
  constructor(channelName: string) {
    this.channelName = channelName;
    this.#channel = new BroadcastChannel(channelName);
    // A turn of the event loop takes messages off the channel too: they must land in the same place.
    this.#channel.onmessage = (event: unknown) => this.#take((event as { data: Announcement }).data);
    this.#channel.unref();
  }

  /** Creates a zeroed buffer and announces it. Large buffers cost memory only where they are touched. */
  add(name: string, bytes: number): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(bytes);
    this.#buffers.set(name, buffer);
    this.#channel.postMessage({ name, buffer } satisfies Announcement);
    return buffer;
  }

  /** A buffer that some thread has added. */
  get(name: string): SharedArrayBuffer {
    const deadline = Date.now() + DELIVERY_TIMEOUT_MS;
    for (;;) {
      const buffer = this.#buffers.get(name);
      if (buffer !== undefined) return buffer;
      this.drain();
      if (!this.#buffers.has(name) && Date.now() > deadline)
        throw new Error(`shared buffer ${name} was never delivered`);
    }
  }

  /** Takes in what other threads announced. Call it now and then, so that announcements do not pile up. */
  drain(): void {
    // Node takes a BroadcastChannel here (since 15.4); its types do not know.
    const port = this.#channel as unknown as MessagePort;
    for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
      this.#take(received.message as Announcement);
    }
  }

  #take({ name, buffer }: Announcement): void {
    this.#buffers.set(name, buffer);
  }

  drop(name: string): void {
    this.#buffers.delete(name);
  }

  /** All buffers of this thread, for a thread that joins. */
  snapshot(): Map<string, SharedArrayBuffer> {
    this.drain();
    return new Map(this.#buffers);
  }

  adopt(snapshot: Map<string, SharedArrayBuffer>): void {
    for (const [name, buffer] of snapshot) this.#buffers.set(name, buffer);
  }

  close(): void {
    this.#channel.close();
    this.#buffers.clear();
  }
}
