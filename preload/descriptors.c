#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "session.h"

/* A descriptor's session, by number. The page of a number is touched only when it is used. */
enum { kDescriptors = 1 << 16 };
static _Atomic(struct weir_session*) sessions[kDescriptors];

/* The process that the table describes. The child of vfork() shares our memory but not our
 * descriptors: what it closes and copies before it execs must not change the table. */
static pid_t owner;

static void adopt(void) { owner = getpid(); }

__attribute__((constructor)) static void set_up(void) {
  adopt();
  pthread_atfork(NULL, NULL, adopt);
}

/* What belongs to the open file and not to the session: whether it blocks, and for how long. */
static void take_over_settings(int from, int to) {
  WEIR_REAL(fcntl)(to, F_SETFL, WEIR_REAL(fcntl)(from, F_GETFL));
  const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    struct timeval timeout;
    socklen_t length = sizeof timeout;
    if (WEIR_REAL(getsockopt)(from, SOL_SOCKET, options[i], &timeout, &length) == 0) {
      WEIR_REAL(setsockopt)(to, SOL_SOCKET, options[i], &timeout, length);
    }
  }
}

static bool is_owner(void) { return !owner || owner == getpid(); }

struct weir_session* weir_find(int descriptor) {
  return (unsigned)descriptor < kDescriptors ? sessions[descriptor] : NULL;
}

bool weir_remember(int descriptor, struct weir_session* session) {
  if ((unsigned)descriptor >= kDescriptors) {
    errno = EMFILE;
    return false;
  }
  atomic_fetch_add(&session->descriptors, 1);
  sessions[descriptor] = session;
  return true;
}

void weir_forget(int descriptor) {
  if (!weir_find(descriptor) || !is_owner()) return;
  struct weir_session* session = atomic_exchange(&sessions[descriptor], NULL);
  if (!session || atomic_fetch_sub(&session->descriptors, 1) != 1) return;
  const int saved = errno;
  WEIR_REAL(close)(session->control);
  weir_free_notes(session);
  munmap(session->shared, sizeof *session->shared);
  free(session);
  errno = saved;
}

bool weir_exchange_descriptors(struct weir_session* session, int fresh) {
  bool is_first = true;
  for (int i = 0; i < kDescriptors; i++) {
    if (sessions[i] != session) continue;
    if (is_first) take_over_settings(i, fresh);
    is_first = false;
    const int flags = WEIR_REAL(fcntl)(i, F_GETFD);
    if (WEIR_REAL(dup3)(fresh, i, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0) return false;
  }
  return true;
}

void weir_forget_range(unsigned first, unsigned last) {
  for (unsigned i = first; i < kDescriptors && i <= last; i++) weir_forget((int)i);
}

int weir_copied(int from, int to) {
  if (to < 0 || to == from || !is_owner()) return to;
  weir_forget(to);
  struct weir_session* session = weir_find(from);
  if (session && !weir_remember(to, session)) {
    const int saved = errno;
    WEIR_REAL(close)(to);
    errno = saved;
    return -1;
  }
  return to;
}
