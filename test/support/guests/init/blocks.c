// Blocks of 4 KiB that tell by themselves whether they are whole and in their place, and access to disks.
#include "guest.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

static uint32_t crc_table[8][256];

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
    crc_table[0][i] = crc;
  }
  for (int slice = 1; slice < 8; slice++)
    for (int i = 0; i < 256; i++)
      crc_table[slice][i] = (crc_table[slice - 1][i] >> 8) ^ crc_table[0][crc_table[slice - 1][i] & 255];
}

// Eight bytes a step: emulated processors are slow.
uint32_t crc32_of(uint32_t crc, const void *data, size_t length) {
  if (crc_table[0][1] == 0) make_crc_table();
  const uint8_t *at = data;
  crc = ~crc;
  for (; length >= 8; length -= 8, at += 8) {
    uint32_t low, high;
    memcpy(&low, at, 4);
    memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^ crc_table[4][low >> 24] ^
          crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^ crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
  }
  while (length-- > 0) crc = (crc >> 8) ^ crc_table[0][(crc ^ *at++) & 255];
  return ~crc;
}

void fill_block(uint8_t *block, uint32_t kind, uint64_t number, uint64_t sequence, uint64_t time_ns, uint32_t seed) {
  uint32_t *words = (uint32_t *)block;
  memcpy(block, "HFBLOCK1", 8);
  memcpy(block + 8, &number, 8);
  memcpy(block + 16, &sequence, 8);
  memcpy(block + 24, &time_ns, 8);
  words[8] = kind;
  words[9] = seed;
  uint32_t state = (seed ^ (uint32_t)number * 2654435761u ^ (uint32_t)sequence * 2246822519u) | 1;
  for (int i = 10; i < 1023; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    words[i] = state;
  }
  words[1023] = crc32_of(0, block, 4092);
}

int open_disk(const char *name, int flags) {
  char path[64];
  if (strchr(name, '/') || strlen(name) > 32) {
    errno = EINVAL;
    return -1;
  }
  snprintf(path, sizeof path, "/dev/%s", name);
  return open(path, flags | O_CLOEXEC);
}

uint64_t disk_bytes(int fd) {
  uint64_t bytes = 0;
  ioctl(fd, BLKGETSIZE64, &bytes);
  return bytes;
}

static int is_disk(const struct dirent *entry) {
  return !strncmp(entry->d_name, "vd", 2) || !strncmp(entry->d_name, "sd", 2);
}

void list_disks(char *names, size_t room) {
  struct dirent **found;
  int count = scandir("/sys/block", &found, is_disk, alphasort);
  names[0] = 0;
  for (int i = 0; i < count; i++) {
    size_t used = strlen(names);
    snprintf(names + used, room - used, "%s%s", i ? " " : "", found[i]->d_name);
    free(found[i]);
  }
  if (count >= 0) free(found);
}

uint8_t *direct_memory(size_t length) {
  void *memory = NULL;
  if (posix_memalign(&memory, 4096, length)) abort();
  return memory;
}
