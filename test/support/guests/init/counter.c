// A number that is written to disk A and then to disk B for ever: at any one moment A holds as many as B or one more. Each write is
// direct and durable, and is timed.
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 16, BUCKETS = 32 * STEPS };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static int running, stopping;
static int fds[2] = {-1, -1};
static char names[2][40];
static uint64_t offset, counters[2], writes, failed;
static double longest_ms;
static uint64_t histogram[BUCKETS];

// Each power of two of microseconds in 16 steps: a percentile is at most 6 % too high.
static int bucket_of(double ms) {
  uint64_t us = (uint64_t)(ms * 1000);
  if (us < STEPS) return (int)us;
  int power = 63 - __builtin_clzll(us);
  int bucket = (power - 3) * STEPS + (int)(us >> (power - 4) & (STEPS - 1));
  return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double upper_ms(int bucket) {
  if (bucket < STEPS) return (bucket + 1) / 1000.0;
  int power = bucket / STEPS + 3;
  return (double)(((uint64_t)STEPS + bucket % STEPS + 1) << (power - 4)) / 1000.0;
}

static double percentile(double part) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < BUCKETS; i++) total += histogram[i];
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (total && seen >= part * total) return upper_ms(i);
  }
  return 0;
}

static int is_stopping(void) {
  pthread_mutex_lock(&lock);
  int result = stopping;
  pthread_mutex_unlock(&lock);
  return result;
}

static void *count_on(void *unused) {
  uint8_t *block = direct_memory(BLOCK_BYTES);
  uint64_t n = counters[1] + 1;
  for (int disk = 0; !is_stopping();) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    fill_block(block, KIND_COUNTER, offset / BLOCK_BYTES, n, time.tv_sec * 1000000000ull + time.tv_nsec, disk);
    double started = now_ms();
    int ok = pwrite(fds[disk], block, BLOCK_BYTES, offset) == BLOCK_BYTES;
    double took = now_ms() - started;
    pthread_mutex_lock(&lock);
    if (ok) {
      writes++;
      counters[disk] = n;
    } else {
      failed++;
    }
    histogram[bucket_of(took)]++;
    if (took > longest_ms) longest_ms = took;
    pthread_mutex_unlock(&lock);
    if (!ok) {
      sleep_ms(10);
      continue;
    }
    if (fds[1] < 0) {
      n++;
    } else {
      disk = !disk;
      if (disk == 0) {
        n++;
        // Else the emulated processor is busy all the time, and the host with it.
        sleep_ms(2);
      }
    }
  }
  free(block);
  return unused;
}

/** counter START [A [B|- [OFFSET]]]: default the first two disks, or the only one. */
int start_counter(int count, char **words, char *json, size_t room) {
  char all[512], *rest = all;
  stop_counter();
  list_disks(all, sizeof all);
  for (int i = 0; i < 2; i++) {
    char *found = strsep(&rest, " ");
    snprintf(names[i], sizeof names[i], "%s", i < count ? words[i] : found ? found : "");
    if (!strcmp(names[i], "-")) names[i][0] = 0;
  }
  offset = count > 2 ? strtoull(words[2], NULL, 0) : 0;
  for (int i = 0; i < 2; i++) {
    if (i > 0 && names[i][0] == 0) continue;
    fds[i] = open_disk(names[i], O_RDWR | O_DIRECT | O_DSYNC);
    if (fds[i] < 0) {
      failure(json, room, errno, "disk \\\"%s\\\"", names[i]);
      stop_counter();
      return -1;
    }
  }
  stopping = 0;
  counters[0] = counters[1] = 0;
  running = 1;
  pthread_create(&thread, NULL, count_on, NULL);
  return 0;
}

void stop_counter(void) {
  pthread_mutex_lock(&lock);
  stopping = 1;
  pthread_mutex_unlock(&lock);
  if (running) pthread_join(thread, NULL);
  running = 0;
  for (int i = 0; i < 2; i++) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
}

void reset_counter(void) {
  pthread_mutex_lock(&lock);
  writes = failed = 0;
  longest_ms = 0;
  memset(histogram, 0, sizeof histogram);
  pthread_mutex_unlock(&lock);
}

int tell_counter(char *json, size_t room) {
  pthread_mutex_lock(&lock);
  int length = snprintf(json, room,
                        "\"counting\":%s,\"writes\":%llu,\"failed\":%llu,\"maxMs\":%.3f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,"
                        "\"counterA\":%llu,\"counterB\":%llu",
                        running ? "true" : "false", (unsigned long long)writes, (unsigned long long)failed, longest_ms, percentile(0.5),
                        percentile(0.99), (unsigned long long)counters[0], (unsigned long long)counters[1]);
  pthread_mutex_unlock(&lock);
  return length;
}
