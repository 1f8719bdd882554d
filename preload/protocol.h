/* What the preload library and the nfnetlink server say to each other. C11 and C++.
 *
 * A tool's netlink socket is two stream connections to the server's unix socket. On the *control*
 * connection the library calls (struct weir_call, then `length` bytes) and the server answers
 * (struct weir_answer, then `length` bytes), one at a time. On the *data* connection, which is the
 * descriptor that the tool holds, the server sends datagrams (struct weir_frame, then `length`
 * bytes); the library sends nothing there after it has attached it.
 *
 * Both ends are on one machine, so integers are in its byte order.
 */
#ifndef WEIR_PRELOAD_PROTOCOL_H
#define WEIR_PRELOAD_PROTOCOL_H

#include <stdint.h>

#define WEIR_PROTOCOL_MAGIC 0x77656972u /* "weir" */
#define WEIR_PROTOCOL_VERSION 1u

/* Environment variable with the path of the engine's socket, and the path without it. */
#define WEIR_SOCKET_VARIABLE "WEIR_SOCKET"
#define WEIR_SOCKET_DEFAULT "/run/weir/weir.sock"

/* How long a tool whose engine has gone waits for the next one. */
#define WEIR_RECONNECT_SECONDS 10

enum weir_operation {
  /* Opens a session: a = magic, b = version, port_id = the process id (autobind's first choice),
   * groups = the socket's type. Answer: result = the session's number, 8 bytes = its secret. */
  WEIR_HELLO = 1,
  /* First call of a data connection: a = the session's number, 8 bytes = its secret. Answered by an
   * empty weir_answer on the data connection; from then on only frames. */
  WEIR_ATTACH = 2,
  WEIR_BIND = 3,        /* port_id, groups: as in sockaddr_nl */
  WEIR_CONNECT = 4,     /* port_id, groups */
  WEIR_GETSOCKNAME = 5, /* Answer: port_id, groups */
  WEIR_SETSOCKOPT = 6,  /* a = level, b = option, payload = value */
  WEIR_GETSOCKOPT = 7,  /* a = level, b = option, groups = room; answer's payload = value */
  /* port_id, groups = destination; payload = datagram. Answered when it has been executed and what
   * it produced is queued. */
  WEIR_SEND = 8,
};

struct weir_call {
  uint32_t operation;
  uint32_t length;
  uint32_t a;
  uint32_t b;
  uint32_t port_id;
  uint32_t groups;
};

struct weir_answer {
  int32_t result; /* What the system call returns: -1 with `error` set, or not negative. */
  int32_t error;  /* errno */
  uint32_t length;
  uint32_t port_id; /* The socket's now, zero until it is bound: it asks the next engine for it. */
  uint32_t groups;
  /* How many frames the server has queued on the data connection since it began. A reader that has
   * had fewer never sees EAGAIN: the rest is on its way. */
  uint32_t frames_due;
};

/* Another frame follows at once: a dump is unfinished, or more is queued. */
#define WEIR_FRAME_MORE 1u

struct weir_frame {
  uint32_t length;
  uint16_t error; /* Instead of a datagram: the errno that recvmsg fails with (ENOBUFS). */
  uint16_t flags;
  uint32_t group; /* The multicast group that it was sent to; zero for a reply. */
};

#endif
