#include "session.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

/* Control descriptors are kept out of the way of select() and of programs that count on getting the
 * lowest number. */
enum { kHiddenFrom = 700, kPartsAtOnce = 512 };

void* weir_next_symbol(const char* name) { return dlsym(RTLD_NEXT, name); }

static const char* socket_path(void) {
  const char* path = getenv(WEIR_SOCKET_VARIABLE);
  return path && *path ? path : WEIR_SOCKET_DEFAULT;
}

static void close_quietly(int descriptor) {
  const int saved = errno;
  WEIR_REAL(close)(descriptor);
  errno = saved;
}

/* Says once a process why nothing works, since most tools only print strerror. */
void weir_complain(int error) {
  static atomic_flag said = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&said)) return;
  char line[512];
  const char* remedy =
      error == EACCES ? "you may not open this socket"
                      : "start it with `weir run`, or name its socket with `weir exec --socket "
                        "PATH` or " WEIR_SOCKET_VARIABLE;
  const int length = snprintf(line, sizeof line, "weir: no engine answers at %s (%s): %s\n",
                              socket_path(), strerror(error), remedy);
  const size_t bytes = (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
  if (WEIR_REAL(write)(STDERR_FILENO, line, bytes) < 0) return;
}

static int connect_to_engine(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char* path = socket_path();
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  const int descriptor = WEIR_REAL(socket)(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  if (WEIR_REAL(connect)(descriptor, (struct sockaddr*)&address, sizeof address) < 0) {
    close_quietly(descriptor);
    return -1;
  }
  return descriptor;
}

static bool write_all(int descriptor, const struct iovec* parts, size_t count) {
  size_t part = 0, done = 0; /* done: bytes of parts[part] */
  while (part < count) {
    struct iovec rest[kPartsAtOnce];
    size_t used = 0;
    for (size_t i = part; i < count && used < kPartsAtOnce; i++) rest[used++] = parts[i];
    rest[0].iov_base = (char*)rest[0].iov_base + done;
    rest[0].iov_len -= done;
    const struct msghdr message = {.msg_iov = rest, .msg_iovlen = used};
    const ssize_t sent = WEIR_REAL(sendmsg)(descriptor, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    done += (size_t)sent;
    while (part < count && done >= parts[part].iov_len) done -= parts[part++].iov_len;
  }
  return true;
}

static bool read_all(int descriptor, void* out, size_t bytes) {
  char* at = out;
  while (bytes) {
    const ssize_t got = WEIR_REAL(recv)(descriptor, at, bytes, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) errno = ECONNRESET;
      return false;
    }
    at += got;
    bytes -= (size_t)got;
  }
  return true;
}

void weir_lock_anyway(struct weir_shared* shared, pthread_mutex_t* lock) {
  if (pthread_mutex_lock(lock) != EOWNERDEAD) return;
  pthread_mutex_consistent(lock);
  shared->is_broken = true;
}

bool weir_lock(struct weir_shared* shared, pthread_mutex_t* lock) {
  weir_lock_anyway(shared, lock);
  if (!shared->is_broken) return true;
  pthread_mutex_unlock(lock);
  errno = ECONNRESET;
  return false;
}

/* Reads what the answer carries: as much as there is room for to `out`, the rest away. */
static bool read_payload(int descriptor, size_t bytes, void* out, size_t room) {
  const size_t kept = bytes < room ? bytes : room;
  if (!read_all(descriptor, out, kept)) return false;
  char sink[256];
  for (size_t left = bytes - kept; left;) {
    const size_t step = left < sizeof sink ? left : sizeof sink;
    if (!read_all(descriptor, sink, step)) return false;
    left -= step;
  }
  return true;
}

static void raise_due(struct weir_shared* shared, uint32_t due) {
  uint32_t known = shared->frames_due;
  while ((int32_t)(due - known) > 0 &&
         !atomic_compare_exchange_weak(&shared->frames_due, &known, due)) {
  }
}

enum weir_outcome weir_exchange(int control, const struct iovec* whole, size_t count,
                                struct weir_answer* answer, void* out, size_t room) {
  if (!write_all(control, whole, count)) return WEIR_NOT_SENT;
  if (read_all(control, answer, sizeof *answer) &&
      read_payload(control, answer->length, out, room)) {
    return WEIR_ANSWERED;
  }
  return WEIR_NOT_ANSWERED;
}

static bool is_gone(int error) { return error == EPIPE || error == ECONNRESET; }

int weir_call(struct weir_session* session, struct weir_call* call, const struct iovec* parts,
              size_t count, struct weir_answer* answer, void* out, size_t room) {
  if (count > IOV_MAX) {
    errno = EMSGSIZE;
    return -1;
  }
  struct iovec whole[IOV_MAX + 1];
  whole[0] = (struct iovec){call, sizeof *call};
  call->length = 0;
  for (size_t i = 0; i < count; i++) {
    whole[i + 1] = parts[i];
    call->length += (uint32_t)parts[i].iov_len;
  }

  struct weir_shared* shared = session->shared;
  for (;;) {
    const uint32_t seen = session->incarnation;
    if (!weir_lock(shared, &shared->call_lock)) return -1;
    const enum weir_outcome outcome =
        weir_exchange(session->control, whole, count + 1, answer, out, room);
    const int error = errno;
    pthread_mutex_unlock(&shared->call_lock);
    if (outcome == WEIR_ANSWERED) break;
    errno = error;
    if (!is_gone(error) || !weir_reconnect(session, seen)) return -1;
    /* Half a call is never executed, and everything but a datagram can be said twice. */
    if (outcome == WEIR_NOT_SENT || call->operation != WEIR_SEND) continue;
    errno = ECONNRESET;
    return -1;
  }
  shared->port_id = answer->port_id;
  raise_due(shared, answer->frames_due);
  if (answer->result < 0) errno = answer->error;
  return answer->result;
}

void weir_wait_readable(int descriptor) {
  struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
  while (WEIR_REAL(poll)(&wanted, 1, -1) < 0 && errno == EINTR) {
  }
}

void weir_wait_due(struct weir_session* session, int descriptor) {
  const struct weir_shared* shared = session->shared;
  if ((int32_t)(shared->frames_due - shared->frames_read) > 0) weir_wait_readable(descriptor);
}

static struct weir_shared* make_shared(void) {
  struct weir_shared* shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return NULL;
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&shared->call_lock, &kind);
  pthread_mutex_init(&shared->receive_lock, &kind);
  pthread_mutexattr_destroy(&kind);
  return shared;
}

static void free_session(struct weir_session* session) {
  if (session->control >= 0) close_quietly(session->control);
  munmap(session->shared, sizeof *session->shared);
  free(session);
}

static int connect_control(void) {
  const int descriptor = connect_to_engine();
  if (descriptor < 0) return -1;
  const int hidden = WEIR_REAL(fcntl)(descriptor, F_DUPFD_CLOEXEC, kHiddenFrom);
  if (hidden < 0) return descriptor;
  close_quietly(descriptor);
  return hidden;
}

static struct weir_session* make_session(int type) {
  struct weir_session* session = calloc(1, sizeof *session);
  if (!session) return NULL;
  session->type = type;
  session->control = -1;
  session->shared = make_shared();
  if (session->shared) return session;
  free(session);
  return NULL;
}

static bool say_hello(int control, int type, uint32_t process_id, struct weir_answer* answer,
                      uint64_t* secret) {
  struct weir_call hello = {.operation = WEIR_HELLO,
                            .a = WEIR_PROTOCOL_MAGIC,
                            .b = WEIR_PROTOCOL_VERSION,
                            .port_id = process_id,
                            .groups = (uint32_t)type};
  const struct iovec part = {&hello, sizeof hello};
  if (weir_exchange(control, &part, 1, answer, secret, sizeof *secret) != WEIR_ANSWERED) {
    errno = ECONNRESET;
    return false;
  }
  if (answer->result < 0) errno = answer->error;
  return answer->result >= 0;
}

/* The connection that becomes the tool's descriptor. */
static int attach_data(uint32_t number, uint64_t secret) {
  const int descriptor = connect_to_engine();
  if (descriptor < 0) return -1;
  struct weir_call call = {.operation = WEIR_ATTACH, .length = sizeof secret, .a = number};
  const struct iovec parts[] = {{&call, sizeof call}, {&secret, sizeof secret}};
  struct weir_answer answer;
  if (weir_exchange(descriptor, parts, 2, &answer, NULL, 0) != WEIR_ANSWERED) {
    close_quietly(descriptor);
    return -1;
  }
  if (answer.result < 0) {
    close_quietly(descriptor);
    errno = answer.error;
    return -1;
  }
  return descriptor;
}

int weir_connect(int type, uint32_t process_id, int* control) {
  *control = connect_control();
  if (*control < 0) return -1;
  struct weir_answer answer;
  uint64_t secret = 0;
  int data = -1;
  if (say_hello(*control, type, process_id, &answer, &secret)) {
    data = attach_data((uint32_t)answer.result, secret);
  }
  if (data < 0) close_quietly(*control);
  return data;
}

int weir_open(int type_and_flags) {
  const int type = type_and_flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (type != SOCK_RAW && type != SOCK_DGRAM) {
    errno = ESOCKTNOSUPPORT;
    return -1;
  }
  struct weir_session* session = make_session(type);
  if (!session) return -1;
  const int descriptor = weir_connect(type, (uint32_t)getpid(), &session->control);
  if (descriptor < 0 || !weir_remember(descriptor, session)) {
    const int error = errno;
    if (descriptor >= 0) close_quietly(descriptor);
    if (descriptor < 0) session->control = -1;
    if (descriptor < 0) weir_complain(error);
    free_session(session);
    errno = error == EACCES ? EPERM : error == ENOENT ? ECONNREFUSED : error;
    return -1;
  }
  if (!(type_and_flags & SOCK_CLOEXEC)) WEIR_REAL(fcntl)(descriptor, F_SETFD, 0);
  if (type_and_flags & SOCK_NONBLOCK) WEIR_REAL(fcntl)(descriptor, F_SETFL, O_NONBLOCK);
  return descriptor;
}
