// Random direct writes over an area of a disk, in which every 4 KiB say where they belong and when they were written; now and then a
// discard.
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MOST_BLOCKS = 16, WRITES_A_DISCARD = 32 };

static pthread_t thread;
static volatile int running, stopping;
static int fd = -1;
static uint64_t first, blocks, sequence, writes, failed, discards, bytes;
static double rate;
static uint32_t seed, state;

static uint32_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static void write_once(uint8_t *memory) {
  uint64_t count = 1 + next_random() % MOST_BLOCKS;
  if (count > blocks) count = blocks;
  uint64_t number = first + next_random() % (blocks - count + 1);
  if (next_random() % WRITES_A_DISCARD == 0) {
    uint64_t range[2] = {number * BLOCK_BYTES, count * BLOCK_BYTES};
    if (ioctl(fd, BLKDISCARD, range) == 0) discards++;
    return;
  }
  sequence++;
  for (uint64_t i = 0; i < count; i++) fill_block(memory + i * BLOCK_BYTES, KIND_LOAD, number + i, sequence, 0, seed);
  size_t length = count * BLOCK_BYTES;
  if (pwrite(fd, memory, length, number * BLOCK_BYTES) == (ssize_t)length) {
    writes++;
    bytes += length;
  } else {
    failed++;
  }
}

static void *write_on(void *unused) {
  uint8_t *memory = direct_memory(MOST_BLOCKS * BLOCK_BYTES);
  double next = now_ms();
  while (!stopping) {
    write_once(memory);
    if (rate <= 0) continue;
    next += 1000 / rate;
    double wait = next - now_ms();
    if (wait > 0) sleep_ms((int)wait);
    else if (wait < -1000) next = now_ms();
  }
  free(memory);
  return unused;
}

/** load START DISK OFFSET LENGTH RATE [SEED]: RATE is writes a second, 0 for as many as go. */
int start_load(int count, char **words, char *json, size_t room) {
  stop_load();
  if (count < 4) {
    failure(json, room, 0, "load START DISK OFFSET LENGTH RATE [SEED]");
    return -1;
  }
  first = strtoull(words[1], NULL, 0) / BLOCK_BYTES;
  blocks = strtoull(words[2], NULL, 0) / BLOCK_BYTES;
  rate = atof(words[3]);
  seed = count > 4 ? (uint32_t)strtoul(words[4], NULL, 0) : 1;
  state = seed * 2654435761u | 1;
  fd = open_disk(words[0], O_RDWR | O_DIRECT);
  if (fd < 0 || blocks == 0 || (first + blocks) * BLOCK_BYTES > disk_bytes(fd)) {
    failure(json, room, fd < 0 ? errno : 0, "disk \\\"%s\\\" has no such area", words[0]);
    stop_load();
    return -1;
  }
  sequence = writes = failed = discards = bytes = 0;
  stopping = 0;
  running = 1;
  pthread_create(&thread, NULL, write_on, NULL);
  return 0;
}

void stop_load(void) {
  stopping = 1;
  if (running) pthread_join(thread, NULL);
  running = 0;
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  fd = -1;
}

int tell_load(char *json, size_t room) {
  return snprintf(json, room, "\"load\":{\"running\":%s,\"writes\":%llu,\"bytes\":%llu,\"failed\":%llu,\"discards\":%llu,\"sequence\":%llu}",
                  running ? "true" : "false", (unsigned long long)writes, (unsigned long long)bytes, (unsigned long long)failed,
                  (unsigned long long)discards, (unsigned long long)sequence);
}
