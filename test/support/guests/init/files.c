// File systems that the host made: mounted, frozen, and written to as careful programs do, by create, fsync, rename, fsync.
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_MOUNTS = 8, SLOTS = 64, MOST_BYTES = 64 * 1024 };

static char mounted[MOST_MOUNTS][40];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static volatile int running, stopping;
static char folder[64];
static uint64_t created, failed, durable;

static int place_of(const char *name) {
  for (int i = 0; i < MOST_MOUNTS; i++)
    if (!strcmp(mounted[i], name)) return i;
  return -1;
}

int mount_disk(const char *name) {
  char device[64], path[64];
  if (strchr(name, '/') || strlen(name) > 32) return errno = EINVAL, -1;
  snprintf(device, sizeof device, "/dev/%s", name);
  snprintf(path, sizeof path, "/mnt/%s", name);
  mkdir(path, 0755);
  int place = place_of("");
  if (place < 0) return errno = EMFILE, -1;
  if (mount(device, path, "ext4", 0, "") != 0) return -1;
  snprintf(mounted[place], sizeof mounted[place], "%s", name);
  return 0;
}

int unmount_disk(const char *name) {
  char path[64];
  int place = place_of(name);
  if (name[0] == 0 || place < 0) return errno = ENOENT, -1;
  snprintf(path, sizeof path, "/mnt/%s", name);
  if (umount(path) != 0) return -1;
  mounted[place][0] = 0;
  return 0;
}

void unmount_all(void) {
  for (int i = 0; i < MOST_MOUNTS; i++)
    if (mounted[i][0]) unmount_disk(mounted[i]);
}

int freeze_all(int thaw) {
  int count = 0;
  for (int i = 0; i < MOST_MOUNTS; i++) {
    char path[sizeof mounted + 8];
    if (!mounted[i][0]) continue;
    snprintf(path, sizeof path, "/mnt/%s", mounted[i]);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int done = fd < 0 ? -1 : ioctl(fd, thaw ? FITHAW : FIFREEZE, 0);
    int error = errno;
    if (fd >= 0) close(fd);
    if (done == 0) count++;
    else if (!thaw) return errno = error, -1;
  }
  return count;
}

/** The file of test/support/guests/test-files.ts: a line with number, length and checksum of the rest, and the rest. */
static int write_file(uint64_t number, char *content) {
  char temporary[128], path[128], head[64];
  size_t length = 1 + (number * 7919) % MOST_BYTES;
  uint32_t state = (uint32_t)number * 2654435761u | 1;
  for (size_t i = 0; i < length; i += 4) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    memcpy(content + i, &state, 4);
  }
  int head_length = snprintf(head, sizeof head, "HFFILE1 %llu %zu %08x\n", (unsigned long long)number, length, crc32_of(0, content, length));
  snprintf(temporary, sizeof temporary, "%s/new", folder);
  snprintf(path, sizeof path, "%s/%llu", folder, (unsigned long long)(number % SLOTS));
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  int ok = write(fd, head, head_length) == head_length && write(fd, content, length) == (ssize_t)length && fsync(fd) == 0;
  close(fd);
  if (!ok || rename(temporary, path) != 0) return -1;
  int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ok = directory >= 0 && fsync(directory) == 0;
  if (directory >= 0) close(directory);
  return ok ? 0 : -1;
}

static void *write_files(void *unused) {
  char *content = malloc(MOST_BYTES + 8);
  for (uint64_t number = durable + 1; !stopping;) {
    int ok = write_file(number, content) == 0;
    pthread_mutex_lock(&lock);
    if (ok) {
      created++;
      durable = number++;
    } else {
      failed++;
    }
    pthread_mutex_unlock(&lock);
    if (!ok) sleep_ms(10);
  }
  free(content);
  return unused;
}

/** files START DISK: the disk must be mounted. Number n goes to the file /files/(n mod 64). */
int start_files(int count, char **words, char *json, size_t room) {
  stop_files();
  if (count < 1 || words[0][0] == 0 || place_of(words[0]) < 0) {
    failure(json, room, 0, "files START DISK: the disk must be mounted");
    return -1;
  }
  snprintf(folder, sizeof folder, "/mnt/%s/files", words[0]);
  mkdir(folder, 0755);
  created = failed = 0;
  stopping = 0;
  running = 1;
  pthread_create(&thread, NULL, write_files, NULL);
  return 0;
}

void stop_files(void) {
  stopping = 1;
  if (running) pthread_join(thread, NULL);
  running = 0;
}

int tell_files(char *json, size_t room) {
  pthread_mutex_lock(&lock);
  int length = snprintf(json, room, "\"files\":{\"running\":%s,\"created\":%llu,\"failed\":%llu,\"durable\":%llu}", running ? "true" : "false",
                        (unsigned long long)created, (unsigned long long)failed, (unsigned long long)durable);
  pthread_mutex_unlock(&lock);
  return length;
}
