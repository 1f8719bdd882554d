/* The preload library's view of one netlink socket that it has replaced, and of this process's
 * descriptors that stand for one.
 *
 * A session is what in the kernel would be the socket: descriptors made by dup() share it, and so
 * do the processes that fork() makes. What they must agree on (struct weir_shared) therefore lies
 * in memory that fork shares, guarded by process-shared locks:
 *   - call_lock: one call at a time on the control connection;
 *   - receive_lock: one reader at a time takes a frame off the data connection. It is held only
 * while a frame is read whose header has arrived, never while a reader waits for one. Everything
 * else (struct weir_session) belongs to the process: how many of its descriptors mean the session,
 * and the number of its control descriptor.
 */
#ifndef WEIR_PRELOAD_SESSION_H
#define WEIR_PRELOAD_SESSION_H

#include <linux/netlink.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "protocol.h"

struct weir_shared {
  pthread_mutex_t call_lock;
  pthread_mutex_t receive_lock;
  _Atomic uint32_t frames_read;
  _Atomic uint32_t frames_due; /* At least so many will have come; see weir_answer. */
  _Atomic bool is_broken;      /* A process died in the middle of a frame or a call. */
  _Atomic bool wants_pktinfo;  /* NETLINK_PKTINFO */
  _Atomic uint32_t peer_port_id, peer_groups; /* connect() */
};

struct weir_session {
  struct weir_shared* shared;
  atomic_int descriptors;
  int control;
  int type; /* SOCK_RAW or SOCK_DGRAM */
};

/* The function that the library has replaced. */
#define WEIR_REAL(name)                                             \
  ({                                                                \
    static __typeof__(&name) real_;                                 \
    if (!real_) real_ = (__typeof__(&name))weir_next_symbol(#name); \
    real_;                                                          \
  })
void* weir_next_symbol(const char* name);

/* session.c */
int weir_open(int type_and_flags);
/* One call and its answer. Returns answer->result, with errno set when that is negative. Up to
 * `room` bytes of the answer's payload go to `out`. */
int weir_call(struct weir_session* session, struct weir_call* call, const struct iovec* parts,
              size_t count, struct weir_answer* answer, void* out, size_t room);
/* Locks in a way that survives the death of a process that held the lock. False, with errno set,
 * when the session is broken. */
bool weir_lock(struct weir_shared* shared, pthread_mutex_t* lock);
/* Until there is something to read or the other end is gone. */
void weir_wait_readable(int descriptor);
/* Until everything that the server has announced, or at least its beginning, can be read. */
void weir_wait_due(struct weir_session* session, int descriptor);

/* descriptors.c: which descriptors of this process are sessions. */
struct weir_session* weir_find(int descriptor);
bool weir_remember(int descriptor, struct weir_session* session);
void weir_forget(int descriptor);
void weir_forget_range(unsigned first, unsigned last);
/* After `to` has become a copy of `from`; returns `to`. */
int weir_copied(int from, int to);

/* datagram.c */
ssize_t weir_send(int descriptor, struct weir_session* session, const struct msghdr* message,
                  int flags);
ssize_t weir_receive(int descriptor, struct weir_session* session, struct msghdr* message,
                     int flags);

#endif
