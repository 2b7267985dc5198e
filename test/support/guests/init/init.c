// PID 1 of the test guest: loads the modules of the initrd, listens for commands on the port org.holdfast.test and on the serial
// console, obeys the power button. Never ends but through the kernel.
#include "guest.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SETTINGS = 16 };

static struct {
  char name[24], value[256];
} settings[MOST_SETTINGS];
static int console = -1;

void say(const char *format, ...) {
  char text[MAX_ANSWER];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text - 2, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof text - 3) length = sizeof text - 3;
  memcpy(text + length, "\r\n", 2);
  if (console >= 0 && write(console, text, length + 2) < 0) console = -1;
}

void sleep_ms(int ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) continue;
}

double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000.0 + time.tv_nsec / 1e6;
}

void start_thread(void *(*body)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, argument) == 0) pthread_detach(thread);
}

const char *setting(const char *name) {
  for (int i = 0; i < MOST_SETTINGS; i++)
    if (!strcmp(settings[i].name, name)) return settings[i].value;
  return "";
}

int change_setting(const char *name, const char *value) {
  for (int i = 0; i < MOST_SETTINGS; i++) {
    if (settings[i].name[0] && strcmp(settings[i].name, name)) continue;
    snprintf(settings[i].value, sizeof settings[i].value, "%s", value);
    snprintf(settings[i].name, sizeof settings[i].name, "%s", name);
    return 0;
  }
  return -1;
}

static void read_settings(void) {
  char line[2048] = "", *rest = line, *word;
  int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, line, sizeof line - 1) < 0) return;
  close(fd);
  while ((word = strsep(&rest, " \n"))) {
    char *value = strchr(word, '=');
    if (strncmp(word, "hf.", 3) || !value) continue;
    *value = 0;
    change_setting(word + 3, value + 1);
  }
}

/** The host named them so that their order is the one to load them in. */
static void load_modules(void) {
  struct dirent **found;
  int count = scandir("/modules", &found, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char path[320];
    snprintf(path, sizeof path, "/modules/%s", found[i]->d_name);
    int fd = found[i]->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) say("module %s: %s", found[i]->d_name, strerror(errno));
    if (fd >= 0) close(fd);
  }
}

int open_port(const char *name) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  struct dirent *entry;
  int result = -1;
  while (ports && result < 0 && (entry = readdir(ports))) {
    char path[320], found[64] = "";
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (read(fd, found, sizeof found - 1) < 0) found[0] = 0;
    close(fd);
    found[strcspn(found, "\n")] = 0;
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    if (!strcmp(found, name)) result = open(path, O_RDWR | O_CLOEXEC);
  }
  if (ports) closedir(ports);
  return result;
}

/** Lines in, lines of JSON out. A port without a host reads as its end. */
static void *serve(void *argument) {
  int fd = (int)(intptr_t)argument;
  char line[MAX_LINE], json[MAX_ANSWER];
  size_t used = 0;
  for (;;) {
    char byte;
    ssize_t length = read(fd, &byte, 1);
    if (length <= 0) {
      used = 0;
      sleep_ms(20);
      continue;
    }
    if (byte != '\n' && byte != '\r') {
      if (used < sizeof line - 1) line[used++] = byte;
      continue;
    }
    if (used == 0) continue;
    line[used] = 0;
    used = 0;
    answer(line, json, sizeof json - 2);
    strcat(json, "\n");
    if (write(fd, json, strlen(json)) < 0) sleep_ms(20);
  }
  return NULL;
}

static void *watch_power_button(void *unused) {
  struct pollfd fds[16];
  int count = 0;
  for (int i = 0; i < 16; i++) {
    char path[32];
    snprintf(path, sizeof path, "/dev/input/event%d", i);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  while (count > 0 && poll(fds, count, -1) > 0) {
    for (int i = 0; i < count; i++) {
      struct input_event event;
      if (!(fds[i].revents & POLLIN) || read(fds[i].fd, &event, sizeof event) != sizeof event) continue;
      if (event.type != EV_KEY || event.code != KEY_POWER || event.value != 1) continue;
      if (!strcmp(setting("acpi"), "ignore")) say("power button ignored");
      else leave(RB_POWER_OFF);
    }
  }
  return unused;
}

void leave(int how) {
  say("holdfast test guest %s", how == RB_AUTOBOOT ? "reboots" : "powers off");
  freeze_all(1);
  stop_files();
  stop_load();
  stop_counter();
  unmount_all();
  sync();
  reboot(how);
}

/** `hf.ip=10.0.0.2/24` for the first network card. */
static void start_network(void) {
  struct ifreq request = {.ifr_name = "eth0"};
  char address[64];
  unsigned bits = 24;
  snprintf(address, sizeof address, "%s", setting("ip"));
  char *slash = strchr(address, '/');
  if (slash) *slash = 0, bits = atoi(slash + 1);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in *socket_address = (struct sockaddr_in *)&request.ifr_addr;
  socket_address->sin_family = AF_INET;
  if (address[0] && inet_pton(AF_INET, address, &socket_address->sin_addr) == 1 && ioctl(fd, SIOCSIFADDR, &request) == 0) {
    socket_address->sin_addr.s_addr = htonl(bits ? ~0u << (32 - bits) : 0);
    ioctl(fd, SIOCSIFNETMASK, &request);
  }
  memset(&request.ifr_addr, 0, sizeof request.ifr_addr);
  request.ifr_flags = IFF_UP;
  ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
}

/** Disks come up beside us: those that `hf.run` names may not be there yet. */
static void run_at_boot(void) {
  char all[256], *rest = all, *command;
  snprintf(all, sizeof all, "%s", setting("run"));
  while ((command = strsep(&rest, ";")) && command[0]) {
    char line[256], json[MAX_ANSWER] = "";
    for (char *at = command; *at; at++)
      if (*at == ',') *at = ' ';
    for (int attempt = 0; attempt < 50; attempt++) {
      snprintf(line, sizeof line, "%s", command);
      answer(line, json, sizeof json);
      if (!strncmp(json, "{\"ok\":true", 10)) break;
      sleep_ms(100);
    }
    say("%s: %s", command, json);
  }
}

static void open_console(void) {
  struct termios mode;
  console = open("/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (console < 0 || tcgetattr(console, &mode) != 0) return;
  cfmakeraw(&mode);
  cfsetspeed(&mode, B115200);
  tcsetattr(console, TCSANOW, &mode);
}

int main(void) {
  mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/mnt", 0755);
  mount("proc", "/proc", "proc", 0, "");
  mount("sysfs", "/sys", "sysfs", 0, "");
  mount("devtmpfs", "/dev", "devtmpfs", 0, "");
  open_console();
  read_settings();
  load_modules();
  start_network();
  say("\r\nholdfast test guest ready");
  start_thread(watch_power_button, NULL);
  start_thread(run_agent, NULL);
  int port = open_port("org.holdfast.test");
  if (port >= 0) start_thread(serve, (void *)(intptr_t)port);
  if (console >= 0) start_thread(serve, (void *)(intptr_t)console);
  run_at_boot();
  for (;;) pause();
}
