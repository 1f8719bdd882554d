/* A session outlives its engine. When the engine has gone (stopped, killed, replaced), whoever
 * notices first, a call or a receive, waits for the next one, tells it what the last one knew of
 * the socket (port id, groups, options, filter), and puts the new connection under the descriptors
 * that the tool has. What was on its way is lost, as on a socket that overran: a listener learns it
 * by ENOBUFS from its next receive, and tools that keep a picture of the table then ask for all of
 * it again. A request that may have been executed fails with ECONNRESET.
 *
 * A session that several processes share by fork() goes on with the one that comes first: two
 * sockets can't have one port id. The others get ECONNRESET. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

static const struct timespec kBetweenTries = {.tv_nsec = 20000000};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_membership(int level, int option) {
  return level == SOL_NETLINK &&
         (option == NETLINK_ADD_MEMBERSHIP || option == NETLINK_DROP_MEMBERSHIP);
}

/* Under call_lock. */
static void drop_option(struct weir_session* session, int level, int option) {
  for (struct weir_option** at = &session->options; *at; at = &(*at)->next) {
    if ((*at)->level != level || (*at)->option != option) continue;
    struct weir_option* gone = *at;
    *at = gone->next;
    free(gone);
    return;
  }
}

void weir_note_option(struct weir_session* session, int level, int option, const void* value,
                      size_t length) {
  if (is_membership(level, option)) return; /* In weir_shared.groups. */
  struct weir_option* fresh = malloc(sizeof *fresh + length);
  if (!fresh) return;
  *fresh = (struct weir_option){.level = level, .option = option, .length = length};
  memcpy(fresh->value, value, length);
  weir_lock_anyway(session->shared, &session->shared->call_lock);
  drop_option(session, level, option);
  if (level == SOL_SOCKET && option == SO_DETACH_FILTER) {
    drop_option(session, level, SO_ATTACH_FILTER);
    free(fresh);
  } else {
    struct weir_option** end = &session->options;
    while (*end) end = &(*end)->next;
    *end = fresh;
  }
  pthread_mutex_unlock(&session->shared->call_lock);
}

void weir_note_watch(struct weir_session* session, int epoll, int operation, int descriptor,
                     const struct epoll_event* event) {
  weir_lock_anyway(session->shared, &session->shared->call_lock);
  struct weir_watch** at = &session->watches;
  while (*at && ((*at)->epoll != epoll || (*at)->descriptor != descriptor)) at = &(*at)->next;
  if (operation == EPOLL_CTL_DEL) {
    struct weir_watch* gone = *at;
    if (gone) *at = gone->next;
    free(gone);
  } else {
    if (!*at) *at = calloc(1, sizeof **at);
    if (*at) {
      (*at)->epoll = epoll;
      (*at)->descriptor = descriptor;
      (*at)->event = *event;
    }
  }
  pthread_mutex_unlock(&session->shared->call_lock);
}

void weir_free_notes(struct weir_session* session) {
  while (session->options) {
    struct weir_option* gone = session->options;
    session->options = gone->next;
    free(gone);
  }
  while (session->watches) {
    struct weir_watch* gone = session->watches;
    session->watches = gone->next;
    free(gone);
  }
}

static bool say(int control, struct weir_call call, const void* value, size_t length) {
  call.length = (uint32_t)length;
  const struct iovec parts[] = {{&call, sizeof call}, {(void*)value, length}};
  struct weir_answer answer;
  return weir_exchange(control, parts, 2, &answer, NULL, 0) == WEIR_ANSWERED && answer.result >= 0;
}

/* Tells the engine what the last one knew. Under call_lock. */
static bool introduce(const struct weir_session* session, int control) {
  const struct weir_shared* shared = session->shared;
  const uint64_t groups = shared->groups;
  if ((shared->port_id || groups) &&
      !say(control,
           (struct weir_call){
               .operation = WEIR_BIND, .port_id = shared->port_id, .groups = (uint32_t)groups},
           NULL, 0)) {
    return false;
  }
  for (uint32_t group = 33; group <= 64; group++) {
    if (!(groups >> (group - 1) & 1)) continue;
    const struct weir_call join = {
        .operation = WEIR_SETSOCKOPT, .a = SOL_NETLINK, .b = NETLINK_ADD_MEMBERSHIP};
    if (!say(control, join, &group, sizeof group)) return false;
  }
  for (const struct weir_option* option = session->options; option; option = option->next) {
    const struct weir_call set = {
        .operation = WEIR_SETSOCKOPT, .a = (uint32_t)option->level, .b = (uint32_t)option->option};
    if (!say(control, set, option->value, option->length)) return false;
  }
  return true;
}

/* The new connections take the old ones' places. Under both locks. */
static bool exchange(struct weir_session* session, int control, int data) {
  struct weir_shared* shared = session->shared;
  if (!weir_exchange_descriptors(session, data)) return false;
  WEIR_REAL(close)(data);
  WEIR_REAL(close)(session->control);
  session->control = control;
  for (struct weir_watch* watch = session->watches; watch; watch = watch->next) {
    /* The kernel forgot it with the last copy of the old connection. */
    WEIR_REAL(epoll_ctl)(watch->epoll, EPOLL_CTL_ADD, watch->descriptor, &watch->event);
  }
  shared->frames_read = 0;
  shared->frames_due = 0;
  shared->owes_overrun = shared->groups != 0 && !shared->ignores_overruns;
  session->incarnation = ++shared->incarnation;
  return true;
}

static bool try_once(struct weir_session* session) {
  int control;
  const int data = weir_connect(session->type, (uint32_t)getpid(), &control);
  if (data < 0) return false;
  if (introduce(session, control)) {
    struct weir_shared* shared = session->shared;
    weir_lock_anyway(shared, &shared->receive_lock);
    const bool is_done = exchange(session, control, data);
    pthread_mutex_unlock(&shared->receive_lock);
    if (is_done) return true;
  }
  WEIR_REAL(close)(data);
  WEIR_REAL(close)(control);
  return false;
}

bool weir_reconnect(struct weir_session* session, uint32_t seen) {
  const int64_t until = now_ms() + WEIR_RECONNECT_SECONDS * 1000;
  struct weir_shared* shared = session->shared;
  bool is_there = false;
  weir_lock_anyway(shared, &shared->call_lock);
  if (session->incarnation != seen) {
    is_there = true; /* Another thread has done it. */
  } else if (shared->incarnation == seen) {
    while (!(is_there = try_once(session)) && now_ms() < until) nanosleep(&kBetweenTries, NULL);
  }
  pthread_mutex_unlock(&shared->call_lock);
  if (is_there) return true;
  weir_complain(ECONNREFUSED);
  errno = ECONNRESET;
  return false;
}
