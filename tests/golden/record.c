/* Preloaded into a tool, writes down what its NETLINK_NETFILTER sockets say and hear: one line a
 * datagram, appended to $GOLDEN_LOG (tests/golden/record). $GOLDEN_NUMBERS, a list like
 * "2:26,7:25", changes nf_tables message numbers on their way out, for messages that the tool is
 * too old to send. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kDescriptors = 256, kLineBytes = 1 << 20, kNftables = 10 };

static char is_ours[kDescriptors];

static int watched(int fd) { return fd >= 0 && fd < kDescriptors && is_ours[fd]; }

static void note(int fd, const char* what, const unsigned char* bytes, size_t count) {
  static char line[kLineBytes];
  int at = snprintf(line, sizeof line, "%d/%d %s ", getpid(), fd, what);
  for (size_t i = 0; i < count && at + 4 < kLineBytes; ++i)
    at += sprintf(line + at, "%02x", bytes[i]);
  line[at++] = '\n';
  const int log = open(getenv("GOLDEN_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (log < 0 || write(log, line, (size_t)at) != at) abort();
  close(log);
}

static void renumber(unsigned char* bytes, size_t count) {
  const char* const list = getenv("GOLDEN_NUMBERS");
  for (size_t at = 0; list && at + sizeof(struct nlmsghdr) <= count;) {
    struct nlmsghdr* const header = (struct nlmsghdr*)(bytes + at);
    for (const char* pair = list; pair; pair = strchr(pair, ',') ? strchr(pair, ',') + 1 : NULL) {
      int from = 0, to = 0;
      sscanf(pair, "%d:%d", &from, &to);
      if (header->nlmsg_type == (kNftables << 8 | from)) {
        header->nlmsg_type = (unsigned short)(kNftables << 8 | to);
        break;
      }
    }
    at += NLMSG_ALIGN(header->nlmsg_len);
  }
}

int socket(int domain, int type, int protocol) {
  int (*const real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
  const int fd = real(domain, type, protocol);
  if (fd >= 0 && fd < kDescriptors)
    is_ours[fd] = domain == AF_NETLINK && protocol == NETLINK_NETFILTER;
  if (watched(fd)) note(fd, "socket", NULL, 0);
  return fd;
}

int bind(int fd, const struct sockaddr* address, socklen_t length) {
  int (*const real)(int, const struct sockaddr*, socklen_t) = dlsym(RTLD_NEXT, "bind");
  if (watched(fd)) {
    note(fd, "bind", (const unsigned char*)&((const struct sockaddr_nl*)address)->nl_groups, 4);
  }
  return real(fd, address, length);
}

int setsockopt(int fd, int level, int option, const void* value, socklen_t length) {
  int (*const real)(int, int, int, const void*, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
  if (watched(fd) && level == SOL_NETLINK) {
    char what[32];
    snprintf(what, sizeof what, "option %d", option);
    note(fd, what, value, length);
  }
  return real(fd, level, option, value, length);
}

ssize_t sendto(int fd, const void* data, size_t count, int flags, const struct sockaddr* address,
               socklen_t length) {
  ssize_t (*const real)(int, const void*, size_t, int, const struct sockaddr*, socklen_t) =
      dlsym(RTLD_NEXT, "sendto");
  if (watched(fd)) {
    renumber((unsigned char*)data, count);
    note(fd, ">", data, count);
  }
  return real(fd, data, count, flags, address, length);
}

ssize_t send(int fd, const void* data, size_t count, int flags) {
  return sendto(fd, data, count, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  ssize_t (*const real)(int, const struct msghdr*, int) = dlsym(RTLD_NEXT, "sendmsg");
  if (watched(fd)) {
    static unsigned char whole[kLineBytes / 2];
    size_t count = 0;
    for (size_t i = 0; i < message->msg_iovlen; ++i) {
      renumber(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
      memcpy(whole + count, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
      count += message->msg_iov[i].iov_len;
    }
    note(fd, ">", whole, count);
  }
  return real(fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  ssize_t (*const real)(int, struct msghdr*, int) = dlsym(RTLD_NEXT, "recvmsg");
  const ssize_t got = real(fd, message, flags);
  if (watched(fd) && got > 0 && !(flags & MSG_PEEK))
    note(fd, "<", message->msg_iov[0].iov_base, (size_t)got);
  return got;
}

ssize_t recvfrom(int fd, void* data, size_t count, int flags, struct sockaddr* address,
                 socklen_t* length) {
  ssize_t (*const real)(int, void*, size_t, int, struct sockaddr*, socklen_t*) =
      dlsym(RTLD_NEXT, "recvfrom");
  const ssize_t got = real(fd, data, count, flags, address, length);
  if (watched(fd) && got > 0 && !(flags & MSG_PEEK)) note(fd, "<", data, (size_t)got);
  return got;
}

ssize_t __recvfrom_chk(int fd, void* data, size_t count, size_t room, int flags,
                       struct sockaddr* address, socklen_t* length) {
  (void)room;
  return recvfrom(fd, data, count, flags, address, length);
}

ssize_t recv(int fd, void* data, size_t count, int flags) {
  return recvfrom(fd, data, count, flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void* data, size_t count, size_t room, int flags) {
  (void)room;
  return recvfrom(fd, data, count, flags, NULL, NULL);
}
