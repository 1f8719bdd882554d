/* The functions of libc that the library replaces. Each looks the descriptor up and, when it is
 * none of ours, does what it always did. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int socket(int domain, int type, int protocol) {
  if (domain != AF_NETLINK || protocol != NETLINK_NETFILTER) {
    return WEIR_REAL(socket)(domain, type, protocol);
  }
  return weir_open(type);
}

/* An address for bind and connect; false with errno set when it is none of netlink's. */
static bool read_address(const struct sockaddr* address, socklen_t length,
                         struct sockaddr_nl* out) {
  if (!address || length < sizeof *out) {
    errno = EINVAL;
    return false;
  }
  memcpy(out, address, sizeof *out);
  if (out->nl_family == AF_NETLINK) return true;
  errno = EINVAL;
  return false;
}

EXPORT int bind(int descriptor, const struct sockaddr* address, socklen_t length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(bind)(descriptor, address, length);
  struct sockaddr_nl to;
  if (!read_address(address, length, &to)) return -1;
  struct weir_call call = {.operation = WEIR_BIND, .port_id = to.nl_pid, .groups = to.nl_groups};
  struct weir_answer answer;
  if (weir_call(session, &call, NULL, 0, &answer, NULL, 0) < 0) return -1;
  const uint64_t beyond_bind = ~(uint64_t)UINT32_MAX;
  session->shared->groups = (session->shared->groups & beyond_bind) | to.nl_groups;
  return 0;
}

EXPORT int connect(int descriptor, const struct sockaddr* address, socklen_t length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(connect)(descriptor, address, length);
  struct sockaddr_nl to = {0};
  const bool is_disconnect =
      address && length >= sizeof address->sa_family && address->sa_family == AF_UNSPEC;
  if (!is_disconnect) {
    if (!read_address(address, length, &to)) return -1;
    struct weir_call call = {
        .operation = WEIR_CONNECT, .port_id = to.nl_pid, .groups = to.nl_groups};
    struct weir_answer answer;
    if (weir_call(session, &call, NULL, 0, &answer, NULL, 0) < 0) return -1;
  }
  session->shared->peer_port_id = to.nl_pid;
  session->shared->peer_groups = to.nl_groups;
  return 0;
}

static int give_address(const struct sockaddr_nl* from, struct sockaddr* address,
                        socklen_t* length) {
  memcpy(address, from, *length < sizeof *from ? *length : sizeof *from);
  *length = sizeof *from;
  return 0;
}

EXPORT int getsockname(int descriptor, struct sockaddr* address, socklen_t* length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(getsockname)(descriptor, address, length);
  struct weir_call call = {.operation = WEIR_GETSOCKNAME};
  struct weir_answer answer;
  if (weir_call(session, &call, NULL, 0, &answer, NULL, 0) < 0) return -1;
  const struct sockaddr_nl name = {
      .nl_family = AF_NETLINK, .nl_pid = answer.port_id, .nl_groups = answer.groups};
  return give_address(&name, address, length);
}

EXPORT int getpeername(int descriptor, struct sockaddr* address, socklen_t* length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(getpeername)(descriptor, address, length);
  const struct sockaddr_nl name = {.nl_family = AF_NETLINK,
                                   .nl_pid = session->shared->peer_port_id,
                                   .nl_groups = session->shared->peer_groups};
  return give_address(&name, address, length);
}

/* Timeouts are of the descriptor that recv() and the control connection's calls use. */
static bool is_local_option(int level, int option) {
  return level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO);
}

static void note_netlink_option(struct weir_session* session, int option, const void* value) {
  struct weir_shared* shared = session->shared;
  int number;
  memcpy(&number, value, sizeof number);
  const uint64_t group = number > 0 && number <= 64 ? (uint64_t)1 << (number - 1) : 0;
  if (option == NETLINK_PKTINFO) shared->wants_pktinfo = number != 0;
  if (option == NETLINK_NO_ENOBUFS) shared->ignores_overruns = number != 0;
  if (option == NETLINK_ADD_MEMBERSHIP) atomic_fetch_or(&shared->groups, group);
  if (option == NETLINK_DROP_MEMBERSHIP) atomic_fetch_and(&shared->groups, ~group);
}

EXPORT int setsockopt(int descriptor, int level, int option, const void* value, socklen_t length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session || is_local_option(level, option)) {
    return WEIR_REAL(setsockopt)(descriptor, level, option, value, length);
  }
  struct iovec part = {(void*)value, length};
  if (level == SOL_SOCKET && option == SO_ATTACH_FILTER) {
    struct sock_fprog program;
    if (length != sizeof program) {
      errno = EINVAL;
      return -1;
    }
    memcpy(&program, value, sizeof program);
    part = (struct iovec){program.filter, program.len * sizeof *program.filter};
  }
  struct weir_call call = {
      .operation = WEIR_SETSOCKOPT, .a = (uint32_t)level, .b = (uint32_t)option};
  struct weir_answer answer;
  if (weir_call(session, &call, &part, 1, &answer, NULL, 0) < 0) return -1;
  if (level == SOL_NETLINK && length >= sizeof(int)) note_netlink_option(session, option, value);
  weir_note_option(session, level, option, part.iov_base, part.iov_len);
  return 0;
}

EXPORT int getsockopt(int descriptor, int level, int option, void* value, socklen_t* length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session || is_local_option(level, option)) {
    return WEIR_REAL(getsockopt)(descriptor, level, option, value, length);
  }
  struct weir_call call = {
      .operation = WEIR_GETSOCKOPT, .a = (uint32_t)level, .b = (uint32_t)option, .groups = *length};
  struct weir_answer answer;
  if (weir_call(session, &call, NULL, 0, &answer, value, *length) < 0) return -1;
  *length = answer.length;
  return 0;
}

EXPORT ssize_t sendmsg(int descriptor, const struct msghdr* message, int flags) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(sendmsg)(descriptor, message, flags);
  return weir_send(descriptor, session, message, flags);
}

EXPORT ssize_t sendto(int descriptor, const void* bytes, size_t length, int flags,
                      const struct sockaddr* to, socklen_t to_length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(sendto)(descriptor, bytes, length, flags, to, to_length);
  struct iovec part = {(void*)bytes, length};
  const struct msghdr message = {
      .msg_name = (void*)to, .msg_namelen = to_length, .msg_iov = &part, .msg_iovlen = 1};
  return weir_send(descriptor, session, &message, flags);
}

EXPORT ssize_t send(int descriptor, const void* bytes, size_t length, int flags) {
  if (!weir_find(descriptor)) return WEIR_REAL(send)(descriptor, bytes, length, flags);
  return sendto(descriptor, bytes, length, flags, NULL, 0);
}

EXPORT ssize_t write(int descriptor, const void* bytes, size_t length) {
  if (!weir_find(descriptor)) return WEIR_REAL(write)(descriptor, bytes, length);
  return sendto(descriptor, bytes, length, 0, NULL, 0);
}

EXPORT ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(writev)(descriptor, parts, count);
  if (count < 0) {
    errno = EINVAL;
    return -1;
  }
  const struct msghdr message = {.msg_iov = (struct iovec*)parts, .msg_iovlen = (size_t)count};
  return weir_send(descriptor, session, &message, 0);
}

EXPORT int sendmmsg(int descriptor, struct mmsghdr* messages, unsigned count, int flags) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(sendmmsg)(descriptor, messages, count, flags);
  unsigned done = 0;
  for (; done < count && done < IOV_MAX; done++) {
    const ssize_t sent = weir_send(descriptor, session, &messages[done].msg_hdr, flags);
    if (sent < 0) return done ? (int)done : -1;
    messages[done].msg_len = (unsigned)sent;
  }
  return (int)done;
}

EXPORT ssize_t recvmsg(int descriptor, struct msghdr* message, int flags) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(recvmsg)(descriptor, message, flags);
  return weir_receive(descriptor, session, message, flags);
}

EXPORT ssize_t recvfrom(int descriptor, void* out, size_t room, int flags, struct sockaddr* from,
                        socklen_t* from_length) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(recvfrom)(descriptor, out, room, flags, from, from_length);
  struct iovec part = {out, room};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (from && from_length) {
    message.msg_name = from;
    message.msg_namelen = *from_length;
  }
  const ssize_t got = weir_receive(descriptor, session, &message, flags);
  if (got >= 0 && from && from_length) *from_length = message.msg_namelen;
  return got;
}

EXPORT ssize_t recv(int descriptor, void* out, size_t room, int flags) {
  if (!weir_find(descriptor)) return WEIR_REAL(recv)(descriptor, out, room, flags);
  return recvfrom(descriptor, out, room, flags, NULL, NULL);
}

EXPORT ssize_t read(int descriptor, void* out, size_t room) {
  if (!weir_find(descriptor)) return WEIR_REAL(read)(descriptor, out, room);
  return recvfrom(descriptor, out, room, 0, NULL, NULL);
}

EXPORT ssize_t readv(int descriptor, const struct iovec* parts, int count) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(readv)(descriptor, parts, count);
  if (count < 0) {
    errno = EINVAL;
    return -1;
  }
  struct msghdr message = {.msg_iov = (struct iovec*)parts, .msg_iovlen = (size_t)count};
  return weir_receive(descriptor, session, &message, 0);
}

static bool has_passed(const struct timespec* deadline) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > deadline->tv_sec ||
         (now.tv_sec == deadline->tv_sec && now.tv_nsec >= deadline->tv_nsec);
}

/* As the kernel's, the timeout is looked at only between datagrams. */
EXPORT int recvmmsg(int descriptor, struct mmsghdr* messages, unsigned count, int flags,
                    struct timespec* timeout) {
  struct weir_session* session = weir_find(descriptor);
  if (!session) return WEIR_REAL(recvmmsg)(descriptor, messages, count, flags, timeout);
  struct timespec deadline = {0};
  if (timeout) {
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout->tv_sec;
    deadline.tv_nsec += timeout->tv_nsec;
    if (deadline.tv_nsec >= 1000000000) {
      deadline.tv_sec++;
      deadline.tv_nsec -= 1000000000;
    }
  }
  unsigned done = 0;
  while (done < count) {
    const ssize_t got =
        weir_receive(descriptor, session, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
    if (got < 0) return done ? (int)done : -1;
    messages[done++].msg_len = (unsigned)got;
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    if (timeout && has_passed(&deadline)) break;
  }
  return (int)done;
}

/* What _FORTIFY_SOURCE turns recv, recvfrom and read into; Debian's binaries import these. */
EXPORT ssize_t __recv_chk(int descriptor, void* out, size_t room, size_t size, int flags) {
  if (room > size) __builtin_trap();
  return recv(descriptor, out, room, flags);
}

EXPORT ssize_t __recvfrom_chk(int descriptor, void* out, size_t room, size_t size, int flags,
                              struct sockaddr* from, socklen_t* from_length) {
  if (room > size) __builtin_trap();
  return recvfrom(descriptor, out, room, flags, from, from_length);
}

EXPORT ssize_t __read_chk(int descriptor, void* out, size_t room, size_t size) {
  if (room > size) __builtin_trap();
  return read(descriptor, out, room);
}

EXPORT int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event* event) {
  const int result = WEIR_REAL(epoll_ctl)(epoll, operation, descriptor, event);
  struct weir_session* session = weir_find(descriptor);
  if (result == 0 && session) weir_note_watch(session, epoll, operation, descriptor, event);
  return result;
}

EXPORT int close(int descriptor) {
  weir_forget(descriptor);
  return WEIR_REAL(close)(descriptor);
}

EXPORT int close_range(unsigned first, unsigned last, int flags) {
  const int result = WEIR_REAL(close_range)(first, last, flags);
  if (result == 0 && !(flags & CLOSE_RANGE_CLOEXEC)) weir_forget_range(first, last);
  return result;
}

EXPORT void closefrom(int first) {
  WEIR_REAL(closefrom)(first);
  weir_forget_range(first < 0 ? 0 : (unsigned)first, UINT_MAX);
}

EXPORT int dup(int from) { return weir_copied(from, WEIR_REAL(dup)(from)); }

EXPORT int dup2(int from, int to) { return weir_copied(from, WEIR_REAL(dup2)(from, to)); }

EXPORT int dup3(int from, int to, int flags) {
  return weir_copied(from, WEIR_REAL(dup3)(from, to, flags));
}

static int control_descriptor(int (*real)(int, int, ...), int descriptor, int command,
                              void* argument) {
  const int result = real(descriptor, command, argument);
  if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return result;
  return weir_copied(descriptor, result);
}

/* fcntl's third argument is an int, a pointer or absent; reading it as a pointer passes each on. */
EXPORT int fcntl(int descriptor, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control_descriptor(WEIR_REAL(fcntl), descriptor, command, argument);
}

EXPORT int fcntl64(int descriptor, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  return control_descriptor(WEIR_REAL(fcntl64), descriptor, command, argument);
}
