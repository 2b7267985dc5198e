// The numbers of the VMA format. Big-endian, but for the lengths in the blob buffer.

export const VMA_MAGIC = 0x564d4100;
export const EXTENT_MAGIC = 0x564d4145;
export const VMA_VERSION = 1;

/** Before the blob buffer. */
export const HEADER_BYTES = 12_288;
export const UUID_AT = 8;
export const UUID_BYTES = 16;
export const TIME_AT = 24;
export const HEADER_MD5_AT = 32;
export const BLOBS_AT = 48;
export const CONFIG_NAMES_AT = 2044;
export const CONFIG_DATA_AT = 3068;
export const CONFIGS = 256;
export const DEVICES_AT = 4096;
export const DEVICE_BYTES = 32;
/** Device 0 stands for an empty slot. */
export const DEVICES = 256;
export const MD5_BYTES = 16;

export const EXTENT_HEADER_BYTES = 512;
export const EXTENT_UUID_AT = 8;
export const EXTENT_MD5_AT = 24;
export const SLOTS_AT = 40;
export const SLOTS = 59;

export const BLOCK_BYTES = 4096;
export const CLUSTER_BYTES = 65_536;
export const CLUSTER_BLOCKS = 16;
