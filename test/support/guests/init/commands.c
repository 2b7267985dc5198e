// What the host may ask for: a line of words in, a line of JSON out. One command at a time.
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/reboot.h>
#include <unistd.h>

void failure(char *json, size_t room, int error, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  snprintf(json, room, "{\"ok\":false,\"error\":\"%s%s%s\"}", text, error ? ": " : "", error ? strerror(error) : "");
}

static void done(char *json, size_t room) { snprintf(json, room, "{\"ok\":true}"); }

static void tell_stats(char *json, size_t room) {
  size_t used = snprintf(json, room, "{\"ok\":true,");
  used += tell_counter(json + used, room - used);
  used += snprintf(json + used, room - used, ",");
  used += tell_load(json + used, room - used);
  used += snprintf(json + used, room - used, ",");
  used += tell_files(json + used, room - used);
  snprintf(json + used, room - used, "}");
}

static void read_serial(const char *disk, char *serial, size_t room) {
  const char *patterns[] = {"/sys/block/%s/serial", "/sys/block/%s/device/vpd_pg80"};
  serial[0] = 0;
  for (int i = 0; i < 2 && serial[0] == 0; i++) {
    char path[96], raw[128];
    snprintf(path, sizeof path, patterns[i], disk);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, raw, sizeof raw);
    if (fd >= 0) close(fd);
    size_t used = 0;
    // The SCSI page has a head of four bytes, and both may be padded.
    for (ssize_t at = i == 1 ? 4 : 0; at < length && used + 1 < room; at++)
      if (raw[at] > ' ' && raw[at] < 127 && raw[at] != '"' && raw[at] != '\\') serial[used++] = raw[at];
    serial[used] = 0;
  }
}

static void tell_disks(char *json, size_t room) {
  char all[512], *rest = all, *name;
  list_disks(all, sizeof all);
  size_t used = snprintf(json, room, "{\"ok\":true,\"disks\":[");
  for (int i = 0; (name = strsep(&rest, " ")) && name[0]; i++) {
    char serial[64];
    int fd = open_disk(name, O_RDONLY);
    read_serial(name, serial, sizeof serial);
    used += snprintf(json + used, room - used, "%s{\"name\":\"%s\",\"sizeBytes\":%llu,\"serial\":\"%s\"}", i ? "," : "", name,
                     (unsigned long long)(fd < 0 ? 0 : disk_bytes(fd)), serial);
    if (fd >= 0) close(fd);
  }
  snprintf(json + used, room - used, "]}");
}

/** write DISK OFFSET LENGTH SEED, checksum DISK OFFSET LENGTH: multiples of 4096. */
static void access_disk(int is_write, char **words, char *json, size_t room) {
  uint64_t offset = strtoull(words[1], NULL, 0), length = strtoull(words[2], NULL, 0);
  enum { PIECE = 256 * 1024 };
  int fd = open_disk(words[0], (is_write ? O_RDWR : O_RDONLY) | O_DIRECT);
  if (fd < 0) return failure(json, room, errno, "disk \\\"%s\\\"", words[0]);
  if (offset % BLOCK_BYTES || length % BLOCK_BYTES) {
    close(fd);
    return failure(json, room, 0, "offset and length must be multiples of 4096");
  }
  uint8_t *memory = direct_memory(PIECE);
  uint32_t crc = 0;
  int error = 0;
  for (uint64_t at = 0; at < length && !error;) {
    size_t piece = length - at < PIECE ? length - at : PIECE;
    if (is_write)
      for (size_t i = 0; i < piece; i += BLOCK_BYTES)
        fill_block(memory + i, KIND_WRITE, (offset + at + i) / BLOCK_BYTES, 0, 0, (uint32_t)strtoul(words[3], NULL, 0));
    ssize_t moved = is_write ? pwrite(fd, memory, piece, offset + at) : pread(fd, memory, piece, offset + at);
    if (moved != (ssize_t)piece) error = moved < 0 ? errno : EIO;
    crc = crc32_of(crc, memory, piece);
    at += piece;
  }
  if (is_write && !error && fsync(fd) != 0) error = errno;
  close(fd);
  free(memory);
  if (error) failure(json, room, error, "%s %s", is_write ? "write to" : "read of", words[0]);
  else snprintf(json, room, "{\"ok\":true,\"crc32\":%u}", crc);
}

static void *leave_later(void *how) {
  sleep_ms(100);
  if ((intptr_t)how != -1) leave((int)(intptr_t)how);
  int fd = open("/proc/sysrq-trigger", O_WRONLY);
  if (write(fd, "c", 1) != 1) say("no panic: %s", strerror(errno));
  return NULL;
}

static void writer(int (*start)(int, char **, char *, size_t), void (*stop)(void), int count, char **words, char *json, size_t room) {
  if (count > 1 && !strcasecmp(words[1], "START")) {
    if (start(count - 2, words + 2, json, room) == 0) done(json, room);
  } else if (count > 1 && !strcasecmp(words[1], "STOP")) {
    stop();
    tell_stats(json, room);
  } else {
    failure(json, room, 0, "%s START or STOP", words[0]);
  }
}

static void carry_out(int count, char **words, char *json, size_t room) {
  const char *name = words[0];
  if (!strcmp(name, "ping")) done(json, room);
  else if (!strcmp(name, "stats")) tell_stats(json, room);
  else if (!strcmp(name, "reset-stats")) reset_counter(), done(json, room);
  else if (!strcmp(name, "disks")) tell_disks(json, room);
  else if (!strcmp(name, "counter")) writer(start_counter, stop_counter, count, words, json, room);
  else if (!strcmp(name, "load")) writer(start_load, stop_load, count, words, json, room);
  else if (!strcmp(name, "files")) writer(start_files, stop_files, count, words, json, room);
  else if (!strcmp(name, "write") && count == 5) access_disk(1, words + 1, json, room);
  else if (!strcmp(name, "checksum") && count == 4) access_disk(0, words + 1, json, room);
  else if (!strcmp(name, "encrypt") && count == 4) encrypt_files(words + 1, json, room);
  else if (!strcmp(name, "mount") && count == 2)
    mount_disk(words[1]) == 0 ? done(json, room) : failure(json, room, errno, "mount of %s", words[1]);
  else if (!strcmp(name, "unmount") && count == 2)
    unmount_disk(words[1]) == 0 ? done(json, room) : failure(json, room, errno, "unmount of %s", words[1]);
  else if (!strcmp(name, "set") && count == 3)
    change_setting(words[1], words[2]) == 0 ? done(json, room) : failure(json, room, 0, "too many settings");
  else if (!strcmp(name, "sync")) sync(), done(json, room);
  else if (!strcmp(name, "sleep") && count == 2) sleep_ms(atoi(words[1])), done(json, room);
  else if (!strcmp(name, "poweroff")) start_thread(leave_later, (void *)(intptr_t)RB_POWER_OFF), done(json, room);
  else if (!strcmp(name, "reboot")) start_thread(leave_later, (void *)(intptr_t)RB_AUTOBOOT), done(json, room);
  else if (!strcmp(name, "panic")) start_thread(leave_later, (void *)(intptr_t)-1), done(json, room);
  else failure(json, room, 0, "no such command, or not with these words");
}

void answer(char *line, char *json, size_t room) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  char *words[MAX_WORDS], *word;
  int count = 0;
  while (count < MAX_WORDS && (word = strsep(&line, " \t\r\n")))
    if (word[0]) words[count++] = word;
  if (count == 0) return failure(json, room, 0, "an empty line");
  pthread_mutex_lock(&lock);
  carry_out(count, words, json, room);
  pthread_mutex_unlock(&lock);
}
