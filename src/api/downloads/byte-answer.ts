// An answer that is bytes: a stream with what is to be said of it. Its bytes go out as they come, no faster than the caller takes them.
import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import { type ByteString, display, fromText, toBytes } from '../../util/byte-string.ts';

export interface ByteHead {
  /** 200, or 206 for a part. */
  readonly status: number;
  readonly type: string;
  /** Undefined where only the end shows it. */
  readonly lengthBytes: number | undefined;
  /** Under which the caller may keep it; undefined for what is no file. */
  readonly fileName: ByteString | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes are the members of the list under `data`: they go into the envelope. */
  readonly isRows: boolean;
}

export class ByteAnswer {
  readonly stream: Readable;
  readonly head: ByteHead;
  /** To be called once the last byte is out, or the caller gone. */
  readonly onSent: () => void;

  constructor(stream: Readable, head: Partial<ByteHead> & Pick<ByteHead, 'type'>, onSent: () => void = () => {}) {
    this.stream = stream;
    this.onSent = onSent;
    this.head = { status: 200, lengthBytes: undefined, fileName: undefined, headers: {}, isRows: false, ...head };
  }
}

/** The schema of an answer that is bytes and nothing else. */
export const Bytes = Type.Unsafe<ByteAnswer>({ type: 'string', format: 'binary' });

/** `attachment; filename="a_.txt"; filename*=UTF-8''a%C3%A4.txt`: nothing of a hostile name gets out of the header. */
export function dispositionOf(name: ByteString): string {
  const ascii = name.replace(/[^ -~]|["\\%]/g, '_');
  const text = toBytes(fromText(display(name)));
  const encoded = [...text]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
