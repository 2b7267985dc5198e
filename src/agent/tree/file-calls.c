// System calls on file trees that Node does not offer: everything relative to an open directory and never through a symbolic link,
// extended attributes, statx, device nodes; and whole directories scanned in one call. The types and contracts of what is exported
// here stand in file-calls.ts; the stat block and the list of extended attributes are those of docs/format.md, section 4.
// Nothing here allocates beyond one call. Results are numbers: 0 or more for success, -errno for failure.
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { STAT_BYTES = 68, STAT_OUT_BYTES = 76, SCAN_HEADER_BYTES = 92, MAX_XATTR_BYTES = 4 * 1024 * 1024 };
enum { MOUNT_POINT = 1, SPARSE = 2 };
enum { FAILED_OWNER = 1, FAILED_MODE = 2, FAILED_TIMES = 4, FAILED_XATTRS = 8, FAILED_ACLS = 16, FAILED_ATTRIBUTES = 32 };
enum { KEPT_ATTRIBUTES = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP };
enum { MAX_ARGUMENTS = 8 };

// ---- arguments and results

typedef struct {
  napi_env env;
  napi_value value[MAX_ARGUMENTS];
} Call;

static Call read_call(napi_env env, napi_callback_info info) {
  Call call = {.env = env};
  size_t count = MAX_ARGUMENTS;
  napi_get_cb_info(env, info, &count, call.value, NULL, NULL);
  return call;
}

static int64_t number(const Call *call, int place) {
  int64_t result = 0;
  napi_get_value_int64(call->env, call->value[place], &result);
  return result;
}

// Names are strings of one character per byte.
static const char *text(const Call *call, int place, char *buffer, size_t size) {
  size_t length = 0;
  if (napi_get_value_string_latin1(call->env, call->value[place], buffer, size, &length) != napi_ok) buffer[0] = 0;
  return buffer;
}

static uint8_t *bytes(const Call *call, int place, size_t *length) {
  void *data = NULL;
  napi_typedarray_type type;
  napi_value array;
  size_t offset;
  *length = 0;
  napi_get_typedarray_info(call->env, call->value[place], &type, length, &data, &array, &offset);
  return data;
}

static napi_value result_of(napi_env env, int64_t result) {
  napi_value value;
  napi_create_int64(env, result, &value);
  return value;
}

static napi_value buffer_of(napi_env env, const void *data, size_t length) {
  napi_value value;
  if (napi_create_buffer_copy(env, length, data, NULL, &value) != napi_ok) return result_of(env, -ENOMEM);
  return value;
}

#define NAME_SIZE 4097
#define PROC_SIZE (NAME_SIZE + 40)

// A path of a name in an open directory, for calls that know no directory descriptors.
static const char *proc_path(char *buffer, int directory, const char *name) {
  snprintf(buffer, PROC_SIZE, "/proc/self/fd/%d/%s", directory, name);
  return buffer;
}

static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }
static void put64(uint8_t *at, uint64_t value) { memcpy(at, &value, 8); }
static uint32_t get32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return value; }
static int64_t get64(const uint8_t *at) { int64_t value; memcpy(&value, at, 8); return value; }

// ---- looking

static void write_stat(uint8_t *at, const struct statx *stat) {
  int is_file = S_ISREG(stat->stx_mode);
  put32(at, stat->stx_mode);
  put32(at + 4, stat->stx_uid);
  put32(at + 8, stat->stx_gid);
  put32(at + 12, S_ISDIR(stat->stx_mode) ? 1 : stat->stx_nlink);
  put64(at + 16, is_file ? stat->stx_size : 0);
  put64(at + 24, (uint64_t)stat->stx_mtime.tv_sec);
  put64(at + 32, (uint64_t)stat->stx_ctime.tv_sec);
  put64(at + 40, stat->stx_ino);
  put32(at + 48, stat->stx_mtime.tv_nsec);
  put32(at + 52, stat->stx_ctime.tv_nsec);
  int is_device = S_ISBLK(stat->stx_mode) || S_ISCHR(stat->stx_mode);
  put32(at + 56, is_device ? stat->stx_rdev_major : 0);
  put32(at + 60, is_device ? stat->stx_rdev_minor : 0);
  put32(at + 64, (uint32_t)(stat->stx_attributes & KEPT_ATTRIBUTES));
}

static void write_stat_and_device(uint8_t *at, const struct statx *stat) {
  write_stat(at, stat);
  put32(at + STAT_BYTES, stat->stx_dev_major);
  put32(at + STAT_BYTES + 4, stat->stx_dev_minor);
}

static int look(int directory, const char *name, int flags, struct statx *stat) {
  return statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | flags, STATX_BASIC_STATS, stat) < 0 ? -errno : 0;
}

// A growing buffer of one call.
typedef struct {
  uint8_t *data;
  size_t length, size;
} Growing;

static int reserve(Growing *growing, size_t more) {
  if (growing->length + more <= growing->size) return 0;
  size_t size = (growing->length + more) * 2 + 65536;
  uint8_t *data = realloc(growing->data, size);
  if (data == NULL) return -ENOMEM;
  growing->data = data;
  growing->size = size;
  return 0;
}

static int is_kept_xattr(const char *name) {
  return strncmp(name, "system.", 7) != 0 || strncmp(name, "system.posix_acl_", 17) == 0;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

// Appends the extended attributes of a path, sorted by name; 0 or -errno, and then nothing is appended.
static int append_xattrs(Growing *out, const char *path) {
  char small[1024], *names = small, *large = NULL;
  ssize_t listed = llistxattr(path, small, sizeof small);
  if (listed < 0 && errno == ERANGE) {
    names = large = malloc(XATTR_LIST_MAX);
    if (large == NULL) return -ENOMEM;
    listed = llistxattr(path, large, XATTR_LIST_MAX);
  }
  if (listed <= 0) {
    int error = listed < 0 ? errno : 0;
    free(large);
    return error == ENOTSUP || error == ENOSYS ? 0 : -error;
  }
  size_t count = 0;
  for (char *name = names; name < names + listed; name += strlen(name) + 1) count++;
  const char **sorted = malloc(count * sizeof *sorted);
  if (sorted == NULL) { free(large); return -ENOMEM; }
  count = 0;
  for (char *name = names; name < names + listed; name += strlen(name) + 1) if (is_kept_xattr(name)) sorted[count++] = name;
  qsort(sorted, count, sizeof *sorted, by_text);
  size_t start = out->length;
  int error = 0;
  for (size_t place = 0; place < count && error == 0; place++) {
    size_t name_length = strlen(sorted[place]);
    if ((error = reserve(out, 5 + name_length + XATTR_SIZE_MAX)) < 0) break;
    uint8_t *at = out->data + out->length;
    ssize_t length = lgetxattr(path, sorted[place], at + 5 + name_length, XATTR_SIZE_MAX);
    if (length < 0) {
      if (errno != ENODATA) error = -errno;
      continue;
    }
    at[0] = (uint8_t)name_length;
    put32(at + 1, (uint32_t)length);
    memcpy(at + 5, sorted[place], name_length);
    out->length += 5 + name_length + (size_t)length;
    if (out->length - start > MAX_XATTR_BYTES) error = -E2BIG;
  }
  free(sorted);
  free(large);
  if (error < 0) out->length = start;
  return error;
}

static int append_target(Growing *out, int directory, const char *name) {
  int error = reserve(out, PATH_MAX);
  if (error < 0) return error;
  ssize_t length = readlinkat(directory, name, (char *)out->data + out->length, PATH_MAX);
  if (length < 0) return -errno;
  out->length += (size_t)length;
  return (int)length;
}

// Appends the scan record of one name.
static int scan_one(Growing *out, int directory, const char *name, size_t name_length) {
  int error = reserve(out, SCAN_HEADER_BYTES + name_length);
  if (error < 0) return error;
  size_t start = out->length;
  memset(out->data + start, 0, SCAN_HEADER_BYTES);
  memcpy(out->data + start + SCAN_HEADER_BYTES, name, name_length);
  out->length += SCAN_HEADER_BYTES + name_length;
  struct statx stat;
  int failure = look(directory, name, 0, &stat), xattr_failure = 0, target = 0;
  size_t xattrs = 0;
  if (failure == 0) {
    char path[PROC_SIZE];
    size_t before = out->length;
    xattr_failure = append_xattrs(out, proc_path(path, directory, name));
    xattrs = out->length - before;
  }
  if (failure == 0 && S_ISLNK(stat.stx_mode)) {
    target = append_target(out, directory, name);
    if (target < 0) { failure = target; target = 0; }
  }
  uint8_t *at = out->data + start;
  put32(at, (uint32_t)(out->length - start));
  at[4] = (uint8_t)name_length;
  at[5] = (uint8_t)-failure;
  at[6] = (uint8_t)-xattr_failure;
  put32(at + 8, (uint32_t)target);
  put32(at + 12, (uint32_t)xattrs);
  if (failure == 0) {
    if (stat.stx_attributes & STATX_ATTR_MOUNT_ROOT) at[7] |= MOUNT_POINT;
    if (S_ISREG(stat.stx_mode) && stat.stx_blocks * 512 < stat.stx_size) at[7] |= SPARSE;
    put32(at + 16, stat.stx_dev_major);
    put32(at + 20, stat.stx_dev_minor);
    // Stat block, name and extended attributes follow each other as in an entry of a directory object: one comparison tells a change.
    write_stat(at + 24, &stat);
  }
  return 0;
}

// scan(directory, names): one record for each of the names, which are in the form that listNames gives.
static napi_value scan(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  int directory = (int)number(&call, 0);
  size_t length;
  const uint8_t *names = bytes(&call, 1, &length);
  Growing out = {0};
  int error = 0;
  char name[256];
  for (size_t at = 0; at < length && error == 0; at += 1 + names[at]) {
    if (at + 1 + names[at] > length) { error = -EINVAL; break; }
    memcpy(name, names + at + 1, names[at]);
    name[names[at]] = 0;
    error = scan_one(&out, directory, name, names[at]);
  }
  napi_value result = error < 0 ? result_of(env, error) : buffer_of(env, out.data, out.length);
  free(out.data);
  return result;
}

struct linux_dirent64 {
  uint64_t d_ino;
  int64_t d_off;
  unsigned short d_reclen;
  unsigned char d_type;
  char d_name[];
};

// Names as length byte and bytes; strcmp and the order of bytes are the same, for no name holds a zero.
static int by_name(const void *a, const void *b) {
  const uint8_t *left = *(const uint8_t *const *)a, *right = *(const uint8_t *const *)b;
  size_t shorter = left[0] < right[0] ? left[0] : right[0];
  int order = memcmp(left + 1, right + 1, shorter);
  return order != 0 ? order : (int)left[0] - (int)right[0];
}

static int read_names(int directory, Growing *out, size_t *count) {
  char *block = malloc(262144);
  if (block == NULL) return -ENOMEM;
  int error = lseek(directory, 0, SEEK_SET) < 0 ? -errno : 0;
  while (error == 0) {
    long got = syscall(SYS_getdents64, directory, block, 262144);
    if (got < 0) error = -errno;
    if (got <= 0) break;
    for (long at = 0; at < got && error == 0;) {
      struct linux_dirent64 *entry = (struct linux_dirent64 *)(block + at);
      at += entry->d_reclen;
      size_t length = strlen(entry->d_name);
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      // vfat and NTFS have such names. To leave one out would be silent.
      if (length > 255) { error = -ENAMETOOLONG; break; }
      if ((error = reserve(out, 1 + length)) < 0) break;
      out->data[out->length] = (uint8_t)length;
      memcpy(out->data + out->length + 1, entry->d_name, length);
      out->length += 1 + length;
      (*count)++;
    }
  }
  free(block);
  return error;
}

// listNames(directory): all names, sorted, each once.
static napi_value list_names(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  Growing names = {0};
  size_t count = 0;
  int error = read_names((int)number(&call, 0), &names, &count);
  const uint8_t **sorted = error < 0 ? NULL : malloc((count + 1) * sizeof *sorted);
  napi_value result = NULL;
  if (sorted != NULL) {
    size_t place = 0;
    for (size_t at = 0; at < names.length; at += 1 + names.data[at]) sorted[place++] = names.data + at;
    qsort(sorted, count, sizeof *sorted, by_name);
    size_t length = 0;
    uint8_t *ordered = malloc(names.length + 1);
    if (ordered != NULL) {
      for (place = 0; place < count; place++) {
        if (place > 0 && by_name(&sorted[place - 1], &sorted[place]) == 0) continue;
        memcpy(ordered + length, sorted[place], 1 + sorted[place][0]);
        length += 1 + sorted[place][0];
      }
      if (napi_create_buffer_copy(env, length, ordered, NULL, &result) != napi_ok) result = NULL;
      free(ordered);
    }
    free(sorted);
  }
  free(names.data);
  return result != NULL ? result : result_of(env, error < 0 ? error : -ENOMEM);
}

// stat(directory, name, out): the stat block and the device of a name; of the descriptor itself when the name is empty.
static napi_value stat_name(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  size_t length;
  uint8_t *out = bytes(&call, 2, &length);
  struct statx stat;
  text(&call, 1, name, sizeof name);
  int error = length < STAT_OUT_BYTES ? -EINVAL : look((int)number(&call, 0), name, name[0] == 0 ? AT_EMPTY_PATH : 0, &stat);
  if (error == 0) write_stat_and_device(out, &stat);
  return result_of(env, error);
}

// ---- opening and reading

static int open_name(int directory, const char *name, int flags, unsigned mode) {
  flags |= O_CLOEXEC | O_NOCTTY;
  int fd = openat(directory < 0 ? AT_FDCWD : directory, name, flags, mode);
  if (fd < 0 && errno == EPERM && (flags & O_NOATIME)) fd = openat(directory < 0 ? AT_FDCWD : directory, name, flags & ~O_NOATIME, mode);
  return fd < 0 ? -errno : fd;
}

// open(directory, name, flags, mode): a descriptor.
static napi_value open_file(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  return result_of(env, open_name((int)number(&call, 0), text(&call, 1, name, sizeof name), (int)number(&call, 2), (unsigned)number(&call, 3)));
}

// close(fd)
static napi_value close_file(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  return result_of(env, close((int)number(&call, 0)) < 0 ? -errno : 0);
}

// readFile(directory, name, target, stat): bytes read into target, at most as many as fit; stat is that of after the reading.
static napi_value read_file(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  size_t size, stat_size;
  uint8_t *target = bytes(&call, 2, &size), *out = bytes(&call, 3, &stat_size);
  if (stat_size < STAT_OUT_BYTES) return result_of(env, -EINVAL);
  int fd = open_name((int)number(&call, 0), text(&call, 1, name, sizeof name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME, 0);
  if (fd < 0) return result_of(env, fd);
  int64_t done = 0;
  while ((size_t)done < size) {
    ssize_t got = read(fd, target + done, size - (size_t)done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) done = -errno;
    if (got <= 0) break;
    done += got;
  }
  struct statx stat;
  int error = look(fd, "", AT_EMPTY_PATH, &stat);
  if (error == 0) write_stat_and_device(out, &stat);
  close(fd);
  return result_of(env, done < 0 ? done : error < 0 ? error : done);
}

// seek(fd, offset, wantsHole): where the next data, or the next hole, begins; -ENXIO when there is none.
static napi_value seek(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  off_t at = lseek((int)number(&call, 0), (off_t)number(&call, 1), number(&call, 2) ? SEEK_HOLE : SEEK_DATA);
  return result_of(env, at < 0 ? -errno : at);
}

// ---- making

static napi_value make_directory(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  return result_of(env, mkdirat((int)number(&call, 0), text(&call, 1, name, sizeof name), (mode_t)number(&call, 2)) < 0 ? -errno : 0);
}

static napi_value make_symlink(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE], target[NAME_SIZE];
  return result_of(env, symlinkat(text(&call, 2, target, sizeof target), (int)number(&call, 0), text(&call, 1, name, sizeof name)) < 0 ? -errno : 0);
}

static napi_value make_node(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  dev_t device = makedev((unsigned)number(&call, 3), (unsigned)number(&call, 4));
  return result_of(env, mknodat((int)number(&call, 0), text(&call, 1, name, sizeof name), (mode_t)number(&call, 2), device) < 0 ? -errno : 0);
}

static napi_value make_link(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char old_name[NAME_SIZE], name[NAME_SIZE];
  int result = linkat((int)number(&call, 2), text(&call, 3, old_name, sizeof old_name), (int)number(&call, 0), text(&call, 1, name, sizeof name), 0);
  return result_of(env, result < 0 ? -errno : 0);
}

static napi_value remove_name(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  return result_of(env, unlinkat((int)number(&call, 0), text(&call, 1, name, sizeof name), number(&call, 2) ? AT_REMOVEDIR : 0) < 0 ? -errno : 0);
}

// rename(directory, name, newName, mayReplace): within one directory; file systems without RENAME_NOREPLACE are asked first.
static napi_value rename_name(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE], new_name[NAME_SIZE];
  int directory = (int)number(&call, 0);
  text(&call, 1, name, sizeof name);
  text(&call, 2, new_name, sizeof new_name);
  if (number(&call, 3)) return result_of(env, renameat(directory, name, directory, new_name) < 0 ? -errno : 0);
  int result = renameat2(directory, name, directory, new_name, RENAME_NOREPLACE) < 0 ? -errno : 0;
  if (result != -EINVAL && result != -ENOSYS) return result_of(env, result);
  struct statx stat;
  if (look(directory, new_name, 0, &stat) != -ENOENT) return result_of(env, -EEXIST);
  return result_of(env, renameat(directory, name, directory, new_name) < 0 ? -errno : 0);
}

// Failures of one object: which kinds, and the first errno.
typedef struct { uint32_t kinds; int error; } Failures;

static void note(Failures *failures, uint32_t kind) {
  if (failures->error == 0) failures->error = errno;
  failures->kinds |= kind;
}

static int is_acl(const uint8_t *name, size_t length) { return length > 17 && memcmp(name, "system.posix_acl_", 17) == 0; }

// Of the descriptor, or of the path when it is negative.
static void set_xattrs(Failures *failures, uint32_t wanted, int fd, const char *path, const uint8_t *xattrs, size_t length) {
  char name[256];
  for (size_t at = 0; at + 5 <= length;) {
    size_t name_length = xattrs[at], value_length = get32(xattrs + at + 1);
    const uint8_t *value = xattrs + at + 5 + name_length;
    if (at + 5 + name_length + value_length > length) return;
    uint32_t kind = is_acl(xattrs + at + 5, name_length) ? FAILED_ACLS : FAILED_XATTRS;
    memcpy(name, xattrs + at + 5, name_length);
    name[name_length] = 0;
    if (wanted & kind) {
      int result = fd >= 0 ? fsetxattr(fd, name, value, value_length, 0) : lsetxattr(path, name, value, value_length, 0);
      if (result < 0) note(failures, kind);
    }
    at += 5 + name_length + value_length;
  }
}

static void set_attributes(Failures *failures, int fd, uint32_t attributes) {
  int flags;
  if (attributes == 0) return;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) { note(failures, FAILED_ATTRIBUTES); return; }
  flags |= (int)attributes;
  if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0) note(failures, FAILED_ATTRIBUTES);
}

// Owner before attributes and mode, for a change of owner drops capabilities and the set-id bits; attributes before mode, for writing
// them needs the write bit; times behind all of these; immutable last.
static Failures set_metadata(int directory, const char *name, int fd, const uint8_t *stat, const uint8_t *xattrs, size_t length, uint32_t wanted) {
  Failures failures = {0};
  mode_t mode = get32(stat);
  char path[PROC_SIZE];
  if (wanted & FAILED_OWNER) {
    int result = fd >= 0 ? fchown(fd, get32(stat + 4), get32(stat + 8)) : fchownat(directory, name, get32(stat + 4), get32(stat + 8), AT_SYMLINK_NOFOLLOW);
    if (result < 0) note(&failures, FAILED_OWNER);
  }
  set_xattrs(&failures, wanted, fd, fd >= 0 ? NULL : proc_path(path, directory, name), xattrs, length);
  // Set-id bits go to the owner they were for, or to nobody.
  if (failures.kinds & FAILED_OWNER) mode &= ~(mode_t)(S_ISUID | S_ISGID);
  if ((wanted & FAILED_MODE) && !S_ISLNK(mode)) {
    int result = fd >= 0 ? fchmod(fd, mode & 07777) : fchmodat(directory, name, mode & 07777, AT_SYMLINK_NOFOLLOW);
    if (result < 0) note(&failures, FAILED_MODE);
  }
  if (wanted & FAILED_TIMES) {
    struct timespec times[2] = {{0, UTIME_OMIT}, {get64(stat + 24), (long)get32(stat + 48)}};
    int result = fd >= 0 ? futimens(fd, times) : utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
    if (result < 0) note(&failures, FAILED_TIMES);
  }
  if ((wanted & FAILED_ATTRIBUTES) && fd >= 0) set_attributes(&failures, fd, get32(stat + 64));
  return failures;
}

static int64_t packed(Failures failures) { return ((int64_t)failures.error << 8) | failures.kinds; }

// setMetadata(directory, name, fd, stat, xattrs, wanted): of the descriptor, or of the name when fd is negative; what failed.
static napi_value set_metadata_of(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  size_t stat_length, xattr_length;
  const uint8_t *stat = bytes(&call, 3, &stat_length), *xattrs = bytes(&call, 4, &xattr_length);
  if (stat_length < STAT_BYTES) return result_of(env, -EINVAL);
  text(&call, 1, name, sizeof name);
  return result_of(env, packed(set_metadata((int)number(&call, 0), name, (int)number(&call, 2), stat, xattrs, xattr_length, (uint32_t)number(&call, 5))));
}

// writeFile(directory, name, data, stat, xattrs, wanted): a new file with all it has; -errno, and then there is no file, or what failed.
static napi_value write_file(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  char name[NAME_SIZE];
  size_t length, stat_length, xattr_length;
  const uint8_t *data = bytes(&call, 2, &length), *stat = bytes(&call, 3, &stat_length), *xattrs = bytes(&call, 4, &xattr_length);
  int directory = (int)number(&call, 0);
  if (stat_length < STAT_BYTES) return result_of(env, -EINVAL);
  int fd = open_name(directory, text(&call, 1, name, sizeof name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (fd < 0) return result_of(env, fd);
  int64_t result = 0;
  for (size_t done = 0; done < length && result == 0;) {
    ssize_t put = write(fd, data + done, length - done);
    if (put < 0 && errno != EINTR) result = -errno;
    else if (put > 0) done += (size_t)put;
  }
  if (result == 0) result = packed(set_metadata(-1, name, fd, stat, xattrs, xattr_length, (uint32_t)number(&call, 5)));
  if (close(fd) < 0 && result >= 0) result = -errno;
  if (result < 0) unlinkat(directory, name, 0);
  return result_of(env, result);
}

// duplicate(fd): another descriptor of the same open file or socket, closed on exec.
static napi_value duplicate(napi_env env, napi_callback_info info) {
  Call call = read_call(env, info);
  int fd = fcntl((int)number(&call, 0), F_DUPFD_CLOEXEC, 0);
  return result_of(env, fd < 0 ? -errno : fd);
}

static napi_value start(napi_env env, napi_value exports) {
  const struct { const char *name; napi_callback function; } functions[] = {
      {"open", open_file}, {"close", close_file}, {"listNames", list_names}, {"scan", scan}, {"stat", stat_name}, {"readFile", read_file}, {"seek", seek},
      {"makeDirectory", make_directory}, {"makeSymlink", make_symlink}, {"makeNode", make_node}, {"makeLink", make_link},
      {"remove", remove_name}, {"rename", rename_name},
      {"setMetadata", set_metadata_of}, {"writeFile", write_file}, {"duplicate", duplicate}};
  for (size_t place = 0; place < sizeof functions / sizeof *functions; place++) {
    napi_value function;
    napi_create_function(env, functions[place].name, NAPI_AUTO_LENGTH, functions[place].function, NULL, &function);
    napi_set_named_property(env, exports, functions[place].name, function);
  }
  return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, start)
