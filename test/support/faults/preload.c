/* LD_PRELOAD library that fails, shortens or counts the calls by which a process changes files below one directory, or
 * kills the process at the n-th of them. Controlled by HF_FAULT, see faults.ts. Only what Node 20 and better-sqlite3 import
 * from libc is wrapped. The variables are removed at the start, so that children of the process are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { NONE, COUNT, FAIL, SHORT, FULL, TEAR, KILL };

static enum action action = NONE;
static char dir[PATH_MAX], ops[512], exclude[1024], only[1024], armed[PATH_MAX], library[256];
static size_t dir_length;
static long nth = 1, counter;
static int error_number = EIO, sticky, log_fd = -1;

#define REAL(name, result, ...)                            \
  static result (*real)(__VA_ARGS__);                      \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void set(char *to, size_t size, const char *value) { snprintf(to, size, "%s", value); }

static void set_action(const char *value) {
  static const struct { const char *name; enum action action; int number; } known[] = {
      {"count", COUNT, 0},      {"kill", KILL, 0},       {"short", SHORT, 0},       {"full", FULL, 0},
      {"tear", TEAR, 0},        {"eio", FAIL, EIO},      {"enospc", FAIL, ENOSPC},  {"erofs", FAIL, EROFS},
      {"edquot", FAIL, EDQUOT}, {"eacces", FAIL, EACCES}, {"emfile", FAIL, EMFILE},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].name, value)) continue;
    action = known[i].action;
    error_number = known[i].number;
    return;
  }
  fprintf(stderr, "HF_FAULT: unknown do=%s\n", value);
  _exit(99);
}

__attribute__((constructor)) static void start(void) {
  const char *setting = getenv("HF_FAULT");
  if (!setting) return;
  char *copy = strdup(setting), *rest = copy, *part;
  while ((part = strsep(&rest, ";"))) {
    char *value = strchr(part, '=');
    if (!value) continue;
    *value++ = 0;
    if (!strcmp(part, "dir")) set(dir, sizeof dir, value);
    else if (!strcmp(part, "op")) set(ops, sizeof ops, value);
    else if (!strcmp(part, "nth")) nth = atol(value);
    else if (!strcmp(part, "do")) set_action(value);
    else if (!strcmp(part, "sticky")) sticky = atoi(value);
    else if (!strcmp(part, "exclude")) set(exclude, sizeof exclude, value);
    else if (!strcmp(part, "notfrom")) set(library, sizeof library, value);
    else if (!strcmp(part, "only")) set(only, sizeof only, value);
    else if (!strcmp(part, "while")) set(armed, sizeof armed, value);
    else if (!strcmp(part, "log")) {
      int fd = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
      /* High, because a parent may hand over descriptors by number. */
      log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 300);
      close(fd);
    }
  }
  free(copy);
  dir_length = strlen(dir);
  unsetenv("HF_FAULT");
  unsetenv("LD_PRELOAD");
}

/* 1 when `word` stands in the comma-separated list; with `inside`, when a word of the list stands in `word`; with `derived`,
 * also when `word` is a word of the list with "-..." behind it, as SQLite names its journals. */
static int listed(const char *list, const char *word, int inside, int derived) {
  while (*list) {
    size_t length = strcspn(list, ",");
    char item[256];
    if (length > 0 && length < sizeof item) {
      memcpy(item, list, length);
      item[length] = 0;
      if (inside ? strstr(word, item) != NULL
                 : !strncmp(word, item, length) && (!word[length] || (derived && word[length] == '-')))
        return 1;
    }
    list += length + (list[length] == ',');
  }
  return 0;
}

static int below(const char *path) {
  return !strncmp(path, dir, dir_length) && (!path[dir_length] || path[dir_length] == '/');
}

static int watched(const char *path) {
  if (!below(path)) return 0;
  const char *name = strrchr(path, '/');
  if (*exclude && listed(exclude, name ? name + 1 : path, 0, 1)) return 0;
  return !*only || listed(only, path + dir_length, 1, 0);
}

static void path_of_fd(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

/* The path with its directory resolved, because dir is a real path. */
static void path_of_name(const char *name, char *path) {
  char folder[PATH_MAX], real[PATH_MAX];
  set(folder, sizeof folder, name);
  char *slash = strrchr(folder, '/');
  const char *base = slash ? slash + 1 : name;
  if (slash) *slash = 0;
  if (!realpath(!slash ? "." : *folder ? folder : "/", real)) real[0] = 0;
  path[0] = 0;
  if (strlen(real) + strlen(base) + 2 <= PATH_MAX) sprintf(path, "%s/%s", real, slash ? name + (base - folder) : base);
}

/* 0 when the call is not one of those that are numbered, else its number. Every watched call goes into the log. */
static long number_of(const char *op, const char *path, size_t bytes) {
  if (!watched(path) || (*armed && access(armed, F_OK))) return 0;
  long number = !*ops || !strcmp(ops, "any") || listed(ops, op, 0, 0) ? __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST) : 0;
  if (log_fd >= 0) {
    char line[PATH_MAX + 128];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%zu\t%s\n", number, op, bytes, path + dir_length);
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (real(log_fd, line, length) != length) _exit(98);
  }
  return number;
}

static void stop(void) {
  for (;;) pause();
}

static void die(void) {
  kill(getpid(), SIGKILL);
  stop();
}

/* What is to be done with this call. Threads whose number comes after the fatal call do nothing any more. */
static enum action decide(const char *op, const char *path, size_t bytes) {
  int saved = errno;
  long number = number_of(op, path, bytes);
  errno = saved;
  if (number == 0 || number < nth) return NONE;
  if ((action == KILL || action == TEAR) && number > nth) stop();
  if (action == KILL) die();
  if (action == FULL) return number == nth ? SHORT : FAIL;
  if (number > nth && !sticky) return NONE;
  return action;
}

/* Whether the call comes from a shared object that is left out. Not by dladdr, which also looks for the nearest of Node's many symbols:
 * at each call that was a tenth of a run. */
static int foreign(const void *caller) {
  struct dl_find_object found;
  return *library && !_dl_find_object((void *)caller, &found) && strstr(found.dlfo_link_map->l_name, library);
}

static enum action for_fd(const char *op, int fd, size_t bytes, const void *caller) {
  if (action == NONE || fd <= 2 || foreign(caller)) return NONE;
  char path[PATH_MAX];
  int saved = errno;
  path_of_fd(fd, path);
  errno = saved;
  return decide(op, path, bytes);
}

static enum action for_name(const char *op, const char *name, const void *caller) {
  if (action == NONE || foreign(caller)) return NONE;
  char path[PATH_MAX];
  int saved = errno;
  path_of_name(name, path);
  errno = saved;
  return decide(op, path, 0);
}

static int refuse(void) {
  errno = action == FULL ? ENOSPC : error_number;
  return -1;
}

/* Half of the bytes, in whole blocks where the call has more than one. A single byte cannot be shortened. */
static size_t half(size_t bytes) {
  size_t part = bytes / 2;
  if (part >= 4096) part -= part % 4096;
  return part ? part : bytes;
}

/* The first `bytes` of a vector; the caller frees it. */
static struct iovec *first_bytes(const struct iovec *from, int *count, size_t bytes) {
  struct iovec *to = malloc(sizeof *to * (size_t)*count);
  int used = 0;
  for (; used < *count && bytes > 0; used++) {
    to[used] = from[used];
    if (to[used].iov_len > bytes) to[used].iov_len = bytes;
    bytes -= to[used].iov_len;
  }
  *count = used;
  return to;
}

static size_t total(const struct iovec *vector, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += vector[i].iov_len;
  return bytes;
}

#define CALLER __builtin_return_address(0)

#define AFTER_WRITE(what) do { if ((what) == TEAR) die(); } while (0)

ssize_t write(int fd, const void *data, size_t bytes) {
  REAL("write", ssize_t, int, const void *, size_t);
  enum action what = for_fd("write", fd, bytes, CALLER);
  if (what == FAIL) return refuse();
  ssize_t result = real(fd, data, what == SHORT || what == TEAR ? half(bytes) : bytes);
  AFTER_WRITE(what);
  return result;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
  REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
  enum action what = for_fd("pwrite", fd, bytes, CALLER);
  if (what == FAIL) return refuse();
  ssize_t result = real(fd, data, what == SHORT || what == TEAR ? half(bytes) : bytes, at);
  AFTER_WRITE(what);
  return result;
}

ssize_t writev(int fd, const struct iovec *vector, int count) {
  REAL("writev", ssize_t, int, const struct iovec *, int);
  enum action what = for_fd("write", fd, total(vector, count), CALLER);
  if (what == FAIL) return refuse();
  if (what != SHORT && what != TEAR) return real(fd, vector, count);
  struct iovec *part = first_bytes(vector, &count, half(total(vector, count)));
  ssize_t result = real(fd, part, count);
  free(part);
  AFTER_WRITE(what);
  return result;
}

ssize_t pwritev64(int fd, const struct iovec *vector, int count, off64_t at) {
  REAL("pwritev64", ssize_t, int, const struct iovec *, int, off64_t);
  enum action what = for_fd("pwrite", fd, total(vector, count), CALLER);
  if (what == FAIL) return refuse();
  if (what != SHORT && what != TEAR) return real(fd, vector, count, at);
  struct iovec *part = first_bytes(vector, &count, half(total(vector, count)));
  ssize_t result = real(fd, part, count, at);
  free(part);
  AFTER_WRITE(what);
  return result;
}

/* A call that has no half: torn means killed behind it. */
#define WHOLE(decision, call)               \
  do {                                      \
    enum action what = (decision);          \
    if (what == FAIL) return refuse();      \
    int result = (call);                    \
    AFTER_WRITE(what);                      \
    return result;                          \
  } while (0)

int fsync(int fd) {
  REAL("fsync", int, int);
  WHOLE(for_fd("fsync", fd, 0, CALLER), real(fd));
}

int fdatasync(int fd) {
  REAL("fdatasync", int, int);
  WHOLE(for_fd("fdatasync", fd, 0, CALLER), real(fd));
}

int ftruncate64(int fd, off64_t size) {
  REAL("ftruncate64", int, int, off64_t);
  WHOLE(for_fd("ftruncate", fd, (size_t)size, CALLER), real(fd, size));
}

/* By its new name, or by its old one when only that lies in the directory. */
int rename(const char *from, const char *to) {
  REAL("rename", int, const char *, const char *);
  char path[PATH_MAX];
  path_of_name(to, path);
  WHOLE(for_name("rename", below(path) ? to : from, CALLER), real(from, to));
}

int link(const char *from, const char *to) {
  REAL("link", int, const char *, const char *);
  WHOLE(for_name("link", to, CALLER), real(from, to));
}

int unlink(const char *name) {
  REAL("unlink", int, const char *);
  WHOLE(for_name("unlink", name, CALLER), real(name));
}

int mkdir(const char *name, mode_t mode) {
  REAL("mkdir", int, const char *, mode_t);
  WHOLE(for_name("mkdir", name, CALLER), real(name, mode));
}

int rmdir(const char *name) {
  REAL("rmdir", int, const char *);
  WHOLE(for_name("rmdir", name, CALLER), real(name));
}

/* Only what creates or empties a file counts. */
int open64(const char *name, int flags, ...) {
  REAL("open64", int, const char *, int, ...);
  mode_t mode = 0;
  if (flags & (O_CREAT | __O_TMPFILE)) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  if (!(flags & (O_CREAT | O_TRUNC))) return real(name, flags, mode);
  WHOLE(for_name("open", name, CALLER), real(name, flags, mode));
}
