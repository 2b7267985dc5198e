// Times in the time zone of this process, as people read them.

/** `Sun 2026-11-22 02:00:00 +0100`: with the weekday and the offset, so that a change of the clocks is seen. */
export function localText(ms: number): string {
  const [, weekday, offset] = /^(\w+).* GMT([+-]\d{4})/.exec(new Date(ms).toString()) ?? [];
  return `${weekday} ${new Date(ms).toLocaleString('sv')} ${offset}`;
}
