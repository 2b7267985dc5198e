// A guest agent as qemu-ga is one, as far as a backup needs it. For tests of failures: `agent` set to `silent` reads and says nothing,
// `freeze` set to `hang` does not come back from a freeze, to `fail` refuses it.
#include "guest.h"
#include <errno.h>
#include <ifaddrs.h>
#include <netpacket/packet.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { SENTINEL = 0xff };

static const char *const commands[] = {"guest-sync-delimited",  "guest-sync",          "guest-ping",         "guest-info",
                                       "guest-fsfreeze-status", "guest-fsfreeze-thaw", "guest-fsfreeze-freeze", "guest-shutdown",
                                       "guest-get-osinfo",      "guest-network-get-interfaces"};
enum { COMMANDS = sizeof commands / sizeof *commands, ALLOWED_WHEN_FROZEN = 6 };

static int frozen;
static int port;

static void reply(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void reply(const char *format, ...) {
  char text[MAX_ANSWER];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  text[length++] = '\n';
  if (write(port, text, length) < 0) sleep_ms(20);
}

static void reply_error(const char *class, const char *what, const char *detail) {
  reply("{\"error\": {\"class\": \"%s\", \"desc\": \"%s%s\"}}", class, what, detail);
}

/** Of `"key": value` behind `from`: a pointer to the value, or NULL. Requests are small and flat, so this is enough. */
static const char *value_of(const char *from, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *at = from ? strstr(from, quoted) : NULL;
  if (!at) return NULL;
  at += strlen(quoted);
  return at + strspn(at, " \t:");
}

static void tell_info(void) {
  char list[2048] = "";
  for (int i = 0; i < COMMANDS; i++) {
    size_t used = strlen(list);
    int enabled = !frozen || i < ALLOWED_WHEN_FROZEN;
    snprintf(list + used, sizeof list - used, "%s{\"enabled\": %s, \"name\": \"%s\", \"success-response\": %s}", i ? ", " : "",
             enabled ? "true" : "false", commands[i], strcmp(commands[i], "guest-shutdown") ? "true" : "false");
  }
  reply("{\"return\": {\"version\": \"7.2.0\", \"supported_commands\": [%s]}}", list);
}

static void tell_osinfo(void) {
  struct utsname name;
  uname(&name);
  reply("{\"return\": {\"id\": \"holdfast-test\", \"name\": \"Holdfast test guest\", \"pretty-name\": \"Holdfast test guest\", "
        "\"kernel-release\": \"%s\", \"kernel-version\": \"%s\", \"machine\": \"%s\"}}",
        name.release, name.version, name.machine);
}

static void tell_interfaces(void) {
  char list[2048] = "";
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) != 0) return reply_error("GenericError", "getifaddrs failed", "");
  for (struct ifaddrs *link = all; link; link = link->ifa_next) {
    if (!link->ifa_addr || link->ifa_addr->sa_family != AF_PACKET) continue;
    const uint8_t *mac = ((struct sockaddr_ll *)link->ifa_addr)->sll_addr;
    size_t used = strlen(list);
    used += snprintf(list + used, sizeof list - used,
                     "%s{\"name\": \"%s\", \"hardware-address\": \"%02x:%02x:%02x:%02x:%02x:%02x\", \"ip-addresses\": [", used ? ", " : "",
                     link->ifa_name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    int count = 0;
    for (struct ifaddrs *each = all; each; each = each->ifa_next) {
      char address[64];
      if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET || strcmp(each->ifa_name, link->ifa_name)) continue;
      inet_ntop(AF_INET, &((struct sockaddr_in *)each->ifa_addr)->sin_addr, address, sizeof address);
      uint32_t mask = each->ifa_netmask ? ((struct sockaddr_in *)each->ifa_netmask)->sin_addr.s_addr : 0;
      used += snprintf(list + used, sizeof list - used, "%s{\"ip-address-type\": \"ipv4\", \"ip-address\": \"%s\", \"prefix\": %d}",
                       count++ ? ", " : "", address, __builtin_popcount(mask));
    }
    snprintf(list + used, sizeof list - used, "]}");
  }
  freeifaddrs(all);
  reply("{\"return\": [%s]}", list);
}

static void freeze(void) {
  if (!strcmp(setting("freeze"), "hang"))
    while (!strcmp(setting("freeze"), "hang")) sleep_ms(100);
  int count = strcmp(setting("freeze"), "fail") ? freeze_all(0) : (errno = EIO, -1);
  if (count < 0) {
    const char *why = strerror(errno);
    freeze_all(1);
    return reply_error("GenericError", "failed to freeze: ", why);
  }
  frozen = count > 0;
  reply("{\"return\": %d}", count);
}

static void carry_out(const char *line) {
  char name[64] = "";
  const char *execute = value_of(line, "execute"), *arguments = value_of(line, "arguments");
  if (!execute || sscanf(execute, "\"%63[^\"]\"", name) != 1) return reply_error("GenericError", "QMP input lacks member 'execute'", "");
  int known = -1;
  for (int i = 0; i < COMMANDS; i++)
    if (!strcmp(commands[i], name)) known = i;
  if (known < 0) {
    char what[128];
    snprintf(what, sizeof what, "The command %s has not been found", name);
    return reply_error("CommandNotFound", what, "");
  }
  if (frozen && known >= ALLOWED_WHEN_FROZEN) {
    char what[128];
    snprintf(what, sizeof what, "Command %s has been disabled", name);
    return reply_error("CommandNotFound", what, ": the agent is in frozen state");
  }
  if (!strncmp(name, "guest-sync", 10)) {
    const char *id = value_of(arguments, "id");
    if (!id) return reply_error("GenericError", "Parameter 'id' is missing", "");
    uint8_t sentinel = SENTINEL;
    if (known == 0 && write(port, &sentinel, 1) != 1) return;
    reply("{\"return\": %lld}", strtoll(id, NULL, 10));
  } else if (!strcmp(name, "guest-ping")) {
    reply("{\"return\": {}}");
  } else if (!strcmp(name, "guest-info")) {
    tell_info();
  } else if (!strcmp(name, "guest-fsfreeze-status")) {
    reply("{\"return\": \"%s\"}", frozen ? "frozen" : "thawed");
  } else if (!strcmp(name, "guest-fsfreeze-freeze")) {
    freeze();
  } else if (!strcmp(name, "guest-fsfreeze-thaw")) {
    int count = frozen ? freeze_all(1) : 0;
    frozen = 0;
    reply("{\"return\": %d}", count);
  } else if (!strcmp(name, "guest-get-osinfo")) {
    tell_osinfo();
  } else if (!strcmp(name, "guest-network-get-interfaces")) {
    tell_interfaces();
  } else {
    const char *mode = value_of(arguments, "mode");
    leave(mode && !strncmp(mode, "\"reboot\"", 8) ? RB_AUTOBOOT : RB_POWER_OFF);
  }
}

void *run_agent(void *unused) {
  static char line[MAX_LINE];
  size_t used = 0;
  int depth = 0;
  if (!strcmp(setting("agent"), "none")) return unused;
  port = open_port("org.qemu.guest_agent.0");
  if (port < 0) return unused;
  for (;;) {
    uint8_t byte;
    if (read(port, &byte, 1) <= 0) {
      used = 0;
      depth = 0;
      sleep_ms(20);
      continue;
    }
    if (!strcmp(setting("agent"), "silent")) continue;
    if (byte == SENTINEL) {
      // As qemu-ga 7.2: the byte ends whatever was begun, and is itself no JSON.
      used = 0;
      depth = 0;
      reply_error("GenericError", "JSON parse error, stray '\\uFFFD'", "");
      continue;
    }
    if (used == 0 && byte != '{') continue;
    if (used < sizeof line - 1) line[used++] = byte;
    depth += byte == '{' ? 1 : byte == '}' ? -1 : 0;
    if (depth > 0) continue;
    line[used] = 0;
    used = 0;
    carry_out(line);
  }
}
