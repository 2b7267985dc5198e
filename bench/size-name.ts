const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** "4 GiB": the largest binary unit that leaves at least one. */
export function sizeName(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Number((bytes / 1024 ** unit).toFixed(1))} ${UNITS[unit]}`;
}
