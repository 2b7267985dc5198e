// The zstd levels that a user may choose; 1 is the knee of speed against size.

export const ZSTD_LEVELS = { lowest: 1, default: 1, highest: 19 } as const;
