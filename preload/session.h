/* The preload library's view of one netlink socket that it has replaced, and of this process's
 * descriptors that stand for one.
 *
 * A session is what in the kernel would be the socket: descriptors made by dup() share it, and so
 * do the processes that fork() makes. What they must agree on (struct weir_shared) therefore lies
 * in memory that fork shares, guarded by process-shared locks:
 *   - call_lock: one call at a time on the control connection;
 *   - receive_lock: one reader at a time takes a frame off the data connection. It is held only
 * while a frame is read whose header has arrived, never while a reader waits for one.
 *   - Both together guard the connections themselves: reconnect.c exchanges them when the engine
 * has gone and another has come. call_lock is taken first. Everything else (struct weir_session)
 * belongs to the process: how many of its descriptors mean the session, the number of its control
 * descriptor, and what has been asked of the socket.
 */
#ifndef WEIR_PRELOAD_SESSION_H
#define WEIR_PRELOAD_SESSION_H

#include <linux/netlink.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
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
  /* Counts the engines that the session has had. */
  _Atomic uint32_t incarnation;
  /* What the engine knows the socket by, for the next one. */
  _Atomic uint32_t port_id;
  _Atomic uint64_t groups;       /* Group g is bit g - 1. */
  _Atomic bool ignores_overruns; /* NETLINK_NO_ENOBUFS */
  _Atomic bool owes_overrun;     /* The next receive tells that events may have been lost. */
};

/* A socket option as it was set last, and a registration with epoll. */
struct weir_option {
  struct weir_option* next;
  int level, option;
  size_t length;
  char value[];
};
struct weir_watch {
  struct weir_watch* next;
  int epoll, descriptor;
  struct epoll_event event;
};

struct weir_session {
  struct weir_shared* shared;
  atomic_int descriptors;
  int control;
  int type;                     /* SOCK_RAW or SOCK_DGRAM */
  _Atomic uint32_t incarnation; /* The engine that our descriptors lead to. */
  struct weir_option* options;  /* In the order in which they are to be set. Under call_lock. */
  struct weir_watch* watches;   /* Under call_lock. */
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
 * `room` bytes of the answer's payload go to `out`. A call that no engine has executed is made
 * again of the next one; ECONNRESET when it isn't known whether a datagram was executed. */
int weir_call(struct weir_session* session, struct weir_call* call, const struct iovec* parts,
              size_t count, struct weir_answer* answer, void* out, size_t room);
/* Says once a process, to its standard error, why nothing works. */
void weir_complain(int error);
/* Locks, whether the session is broken or not. */
void weir_lock_anyway(struct weir_shared* shared, pthread_mutex_t* lock);
/* Locks in a way that survives the death of a process that held the lock. False, with errno set,
 * when the session is broken. */
bool weir_lock(struct weir_shared* shared, pthread_mutex_t* lock);
/* The connections to an engine of one more session: the new data descriptor, the control descriptor
 * in `control`. -1 with errno. */
int weir_connect(int type, uint32_t process_id, int* control);
/* Makes one call on a connection, whoever's it is. */
enum weir_outcome { WEIR_ANSWERED, WEIR_NOT_SENT, WEIR_NOT_ANSWERED };
enum weir_outcome weir_exchange(int control, const struct iovec* whole, size_t count,
                                struct weir_answer* answer, void* out, size_t room);
/* Until there is something to read or the other end is gone. */
void weir_wait_readable(int descriptor);
/* Until everything that the server has announced, or at least its beginning, can be read. */
void weir_wait_due(struct weir_session* session, int descriptor);

/* reconnect.c: a session outlives its engine. */
/* The engine of incarnation `seen` is gone: leads the session to the next one, which is waited for
 * for WEIR_RECONNECT_SECONDS. True when there is one; else errno is ECONNRESET. */
bool weir_reconnect(struct weir_session* session, uint32_t seen);
/* What the next engine has to be told. */
void weir_note_option(struct weir_session* session, int level, int option, const void* value,
                      size_t length);
void weir_note_watch(struct weir_session* session, int epoll, int operation, int descriptor,
                     const struct epoll_event* event);
void weir_free_notes(struct weir_session* session);

/* descriptors.c: which descriptors of this process are sessions. */
struct weir_session* weir_find(int descriptor);
bool weir_remember(int descriptor, struct weir_session* session);
void weir_forget(int descriptor);
/* Makes each of the session's descriptors a copy of `fresh`, with its own flags. */
bool weir_exchange_descriptors(struct weir_session* session, int fresh);
void weir_forget_range(unsigned first, unsigned last);
/* After `to` has become a copy of `from`; returns `to`. */
int weir_copied(int from, int to);

/* datagram.c */
ssize_t weir_send(int descriptor, struct weir_session* session, const struct msghdr* message,
                  int flags);
ssize_t weir_receive(int descriptor, struct weir_session* session, struct msghdr* message,
                     int flags);

#endif
