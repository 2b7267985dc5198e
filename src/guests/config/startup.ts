// The place of a guest in the order of start and stop: the value of `startup`.
import { type PropertyFormat, parseProperties } from './property-string.ts';

const FORMAT: PropertyFormat = {
  defaultKey: 'order',
  keys: {
    order: { kind: 'integer', min: 0 },
    up: { kind: 'integer', min: 0 },
    down: { kind: 'integer', min: 0 },
  },
};

export interface Startup {
  /** Lower starts earlier and stops later; undefined is after all that have one. */
  readonly order: number | undefined;
  /** Seconds to wait after the start, before the next guest. */
  readonly upSeconds: number | undefined;
  /** Seconds that the guest has to shut down. */
  readonly downSeconds: number | undefined;
}

/** @throws `bad-argument`. */
export function parseStartup(value: string): Startup {
  const { order, up, down } = parseProperties(value, FORMAT, 'startup');
  const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
  return { order: number(order), upSeconds: number(up), downSeconds: number(down) };
}
