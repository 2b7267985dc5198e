// What carries texts of a control line, in memory: what was sent is kept, and answered when a test says so.
import type { TextSocket } from '../../src/transport/control/control-line.ts';

export class FakeSocket implements TextSocket {
  readonly sent: { readonly type: string; readonly [member: string]: unknown }[] = [];
  bufferedAmount = 0;
  ended: string | undefined;
  /** Answers a ping, as a living end does. */
  onPing: () => void = () => {};

  send(text: string): void {
    const message = JSON.parse(text) as { type: string };
    this.sent.push(message);
    if (message.type === 'ping') this.onPing();
  }

  close(reason: string): void {
    this.ended ??= `closed: ${reason}`;
  }

  terminate(): void {
    this.ended ??= 'terminated';
  }

  /** Of a kind. */
  of(type: string): { readonly type: string; readonly [member: string]: unknown }[] {
    return this.sent.filter((message) => message.type === type);
  }
}
