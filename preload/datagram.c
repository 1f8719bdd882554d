#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "session.h"

static ssize_t total(const struct iovec* parts, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += parts[i].iov_len;
  return (ssize_t)bytes;
}

ssize_t weir_send(int descriptor, struct weir_session* session, const struct msghdr* message,
                  int flags) {
  if (flags & MSG_OOB) {
    errno = EOPNOTSUPP;
    return -1;
  }
  struct weir_call call = {.operation = WEIR_SEND,
                           .port_id = session->shared->peer_port_id,
                           .groups = session->shared->peer_groups};
  if (message->msg_name && message->msg_namelen) {
    struct sockaddr_nl to = {0};
    if (message->msg_namelen < sizeof to) {
      errno = EINVAL;
      return -1;
    }
    memcpy(&to, message->msg_name, sizeof to);
    if (to.nl_family != AF_NETLINK) {
      errno = EINVAL;
      return -1;
    }
    call.port_id = to.nl_pid;
    call.groups = to.nl_groups;
  }
  struct weir_answer answer;
  if (weir_call(session, &call, message->msg_iov, message->msg_iovlen, &answer, NULL, 0) < 0) {
    return -1;
  }
  /* In the kernel the answers lie in the socket when send returns; tools poll without a timeout. */
  weir_wait_due(session, descriptor);
  return total(message->msg_iov, message->msg_iovlen);
}

/* Waits for a frame to begin. Nothing is locked. Zero, or -1 with errno as the kernel's recvmsg. */
static int wait_for_frame(int descriptor, const struct weir_session* session, ssize_t seen,
                          int flags) {
  if (seen > 0) { /* Part of a header: the rest is being written. */
    const struct timespec moment = {.tv_nsec = 100000};
    nanosleep(&moment, NULL);
    return 0;
  }
  if ((int32_t)(session->shared->frames_due - session->shared->frames_read) > 0) {
    weir_wait_readable(descriptor);
    return 0;
  }
  /* recv and not poll: it knows O_NONBLOCK, SO_RCVTIMEO and SA_RESTART. */
  char byte;
  return WEIR_REAL(recv)(descriptor, &byte, 1, MSG_PEEK | (flags & MSG_DONTWAIT)) < 0 ? -1 : 0;
}

/* Returns with receive_lock held and a whole header in `frame`, which is still to be read. */
static int lock_frame(int descriptor, struct weir_session* session, struct weir_frame* frame,
                      int flags) {
  struct weir_shared* shared = session->shared;
  for (;;) {
    if (!weir_lock(shared, &shared->receive_lock)) return -1;
    const ssize_t seen = WEIR_REAL(recv)(descriptor, frame, sizeof *frame, MSG_PEEK | MSG_DONTWAIT);
    if (seen == (ssize_t)sizeof *frame) return 0;
    const int error = errno;
    pthread_mutex_unlock(&shared->receive_lock);
    if (seen == 0) {
      errno = ECONNRESET; /* The engine is gone. */
      return -1;
    }
    if (seen < 0 && error != EAGAIN) {
      errno = error;
      return -1;
    }
    if (wait_for_frame(descriptor, session, seen, flags) < 0) return -1;
  }
}

/* Takes `bytes` off the stream, the frame's writer may still be at them. */
static bool take(int descriptor, void* out, size_t bytes) {
  char* at = out;
  while (bytes) {
    const ssize_t got = WEIR_REAL(recv)(descriptor, at, bytes, MSG_WAITALL);
    if (got > 0) {
      at += got;
      bytes -= (size_t)got;
    } else if (got == 0) {
      errno = ECONNRESET;
      return false;
    } else if (errno == EAGAIN) {
      weir_wait_readable(descriptor);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

static bool take_body(int descriptor, const struct msghdr* message, size_t length) {
  size_t left = length;
  for (size_t i = 0; i < message->msg_iovlen && left; i++) {
    const struct iovec* part = &message->msg_iov[i];
    const size_t step = part->iov_len < left ? part->iov_len : left;
    if (!take(descriptor, part->iov_base, step)) return false;
    left -= step;
  }
  char sink[1024];
  while (left) {
    const size_t step = left < sizeof sink ? left : sizeof sink;
    if (!take(descriptor, sink, step)) return false;
    left -= step;
  }
  return true;
}

/* Copies the body and leaves it where it is. `room` is what the message has, at most the body. */
static bool peek_body(int descriptor, const struct msghdr* message, size_t room) {
  struct weir_frame frame;
  struct iovec parts[IOV_MAX + 1];
  parts[0] = (struct iovec){&frame, sizeof frame};
  size_t used = 1, left = room;
  for (size_t i = 0; i < message->msg_iovlen && i < IOV_MAX && left; i++) {
    const size_t step = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;
    parts[used++] = (struct iovec){message->msg_iov[i].iov_base, step};
    left -= step;
  }
  struct msghdr whole = {.msg_iov = parts, .msg_iovlen = used};
  for (;;) {
    const ssize_t got = WEIR_REAL(recvmsg)(descriptor, &whole, MSG_PEEK | MSG_DONTWAIT);
    if (got == (ssize_t)(sizeof frame + room)) return true;
    if (got == 0) errno = ECONNRESET;
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return false;
    const struct timespec moment = {.tv_nsec = 100000};
    nanosleep(&moment, NULL);
  }
}

static void fill_source(struct msghdr* message, uint32_t group) {
  if (!message->msg_name || !message->msg_namelen) {
    message->msg_namelen = 0;
    return;
  }
  const struct sockaddr_nl from = {
      .nl_family = AF_NETLINK,
      .nl_groups = group && group <= 32 ? 1u << (group - 1) : 0,
  };
  memcpy(message->msg_name, &from,
         message->msg_namelen < sizeof from ? message->msg_namelen : sizeof from);
  message->msg_namelen = sizeof from;
}

static void fill_control(const struct weir_session* session, struct msghdr* message,
                         uint32_t group) {
  if (!session->shared->wants_pktinfo) {
    message->msg_controllen = 0;
    return;
  }
  const struct nl_pktinfo info = {.group = group};
  if (!message->msg_control || message->msg_controllen < CMSG_LEN(sizeof info)) {
    message->msg_flags |= MSG_CTRUNC;
    message->msg_controllen = 0;
    return;
  }
  struct cmsghdr* header = message->msg_control;
  header->cmsg_level = SOL_NETLINK;
  header->cmsg_type = NETLINK_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof info);
  memcpy(CMSG_DATA(header), &info, sizeof info);
  if (message->msg_controllen > CMSG_SPACE(sizeof info)) {
    message->msg_controllen = CMSG_SPACE(sizeof info);
  }
}

/* receive_lock is held. */
static bool read_frame(int descriptor, struct weir_session* session, struct weir_frame* frame,
                       const struct msghdr* message, int flags) {
  struct weir_shared* shared = session->shared;
  const size_t room = (size_t)total(message->msg_iov, message->msg_iovlen);
  if (flags & MSG_PEEK && !frame->error) {
    return peek_body(descriptor, message, room < frame->length ? room : frame->length);
  }
  if (!take(descriptor, frame, sizeof *frame) || !take_body(descriptor, message, frame->length)) {
    /* Where the engine is gone, so is the stream that we have lost our place in. */
    if (errno != ECONNRESET) shared->is_broken = true;
    return false;
  }
  const uint32_t read = ++shared->frames_read;
  if (frame->flags & WEIR_FRAME_MORE && (int32_t)(shared->frames_due - read) <= 0) {
    shared->frames_due = read + 1;
  }
  return true;
}

/* The engine of incarnation `seen` is gone. True when a receive may go on with the next one; else
 * errno says what the tool has to know: ENOBUFS for a listener, which has lost events and can ask
 * for everything again; ECONNRESET for who was due an answer, or when there is no next engine. */
static bool go_on(struct weir_session* session, uint32_t seen) {
  struct weir_shared* shared = session->shared;
  const bool was_due = (int32_t)(shared->frames_due - shared->frames_read) > 0;
  if (!weir_reconnect(session, seen)) return false;
  if (!was_due || shared->groups) return true;
  errno = ECONNRESET;
  return false;
}

ssize_t weir_receive(int descriptor, struct weir_session* session, struct msghdr* message,
                     int flags) {
  if (flags & MSG_OOB) {
    errno = EOPNOTSUPP;
    return -1;
  }
  struct weir_frame frame;
  for (;;) {
    if (atomic_exchange(&session->shared->owes_overrun, false)) {
      errno = ENOBUFS;
      return -1;
    }
    const uint32_t seen = session->incarnation;
    bool is_read = lock_frame(descriptor, session, &frame, flags) == 0;
    if (is_read) {
      is_read = read_frame(descriptor, session, &frame, message, flags);
      const int error = errno;
      pthread_mutex_unlock(&session->shared->receive_lock);
      errno = error;
    }
    if (is_read) break;
    if (errno != ECONNRESET || session->shared->is_broken || !go_on(session, seen)) return -1;
  }
  /* In the kernel the next datagram of a dump lies in the socket when recvmsg returns. */
  weir_wait_due(session, descriptor);
  if (frame.error) {
    errno = frame.error;
    return -1;
  }
  const size_t room = (size_t)total(message->msg_iov, message->msg_iovlen);
  message->msg_flags = frame.length > room ? MSG_TRUNC : 0;
  fill_source(message, frame.group);
  fill_control(session, message, frame.group);
  return frame.length > room && !(flags & MSG_TRUNC) ? (ssize_t)room : (ssize_t)frame.length;
}
