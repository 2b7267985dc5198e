// The test guest: one static program that is all there is beside a Debian kernel. What the parts of it share.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 4096, MAX_WORDS = 12, MAX_ANSWER = 8192, MAX_LINE = 4096 };
enum { KIND_COUNTER = 1, KIND_LOAD = 2, KIND_WRITE = 3 };

// ---- init.c
/** Prints a line on the serial console. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** Of a word `hf.NAME=VALUE` of the kernel's command line or of the command `set`; "" when there is none. Not to be kept. */
const char *setting(const char *name);
int change_setting(const char *name, const char *value);
/** Stops the writers, unmounts, syncs. `how` is a RB_ of reboot(2). Does not return. */
void leave(int how);
void start_thread(void *(*body)(void *), void *argument);
/** Of a virtio-serial port by the name that the host gave it, or -1. */
int open_port(const char *name);
void sleep_ms(int ms);
double now_ms(void);

// ---- blocks.c
uint32_t crc32_of(uint32_t crc, const void *data, size_t length);
/** The block of test/support/guests/test-blocks.ts. */
void fill_block(uint8_t *block, uint32_t kind, uint64_t number, uint64_t sequence, uint64_t time_ns, uint32_t seed);
/** Opens /dev/NAME; NAME may not hold a slash. -1 and errno when there is none. */
int open_disk(const char *name, int flags);
uint64_t disk_bytes(int fd);
/** Names of all disks, sorted, separated by spaces. */
void list_disks(char *names, size_t room);
/** Aligned as O_DIRECT wants it. */
uint8_t *direct_memory(size_t length);

// ---- commands.c
/** Carries out one line, writes one line of JSON without its end. */
void answer(char *line, char *json, size_t room);
/** `{"ok":false,"error":TEXT}` with errno's text behind it when it is not 0. */
void failure(char *json, size_t room, int error, const char *format, ...) __attribute__((format(printf, 4, 5)));

// ---- counter.c, load.c, files.c: each starts or stops with the words of a command, and tells of itself
int start_counter(int count, char **words, char *json, size_t room);
void stop_counter(void);
void reset_counter(void);
int tell_counter(char *json, size_t room);
int start_load(int count, char **words, char *json, size_t room);
void stop_load(void);
int tell_load(char *json, size_t room);
int start_files(int count, char **words, char *json, size_t room);
void stop_files(void);
int tell_files(char *json, size_t room);
/** Mounts /dev/NAME on /mnt/NAME. 0 or -1 and errno. */
int mount_disk(const char *name);
int unmount_disk(const char *name);
void unmount_all(void);
/** FIFREEZE or FITHAW on all that is mounted; how many, or -1 and errno. */
int freeze_all(int thaw);

// ---- encrypt.c
void encrypt_files(char **words, char *json, size_t room);

// ---- agent.c
void *run_agent(void *unused);
