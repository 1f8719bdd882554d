/* Which events a netlink socket wants, beside the groups that it is a member of. For C and C++;
 * installed as <weir/event_filter.h>. Only weir's engine knows this option: the kernel answers
 * ENOPROTOOPT.
 *
 *     struct weir_event_filter filter = {
 *         .subsystem = NFNL_SUBSYS_CTNETLINK,
 *         .events = 1 << IPCT_NEW | 1 << IPCT_DESTROY,
 *         .conditions = WEIR_EVENT_PROTOCOL};
 *     filter.protocols[IPPROTO_TCP / 32] |= 1u << IPPROTO_TCP % 32;
 *     setsockopt(fd, WEIR_SOL_EVENTS, WEIR_EVENT_FILTER, &filter, sizeof filter);
 *
 * What no socket wants isn't produced. A socket has one filter for each subsystem; without one it
 * gets everything of its groups. Integers are in the machine's byte order.
 */
#ifndef WEIR_EVENT_FILTER_H
#define WEIR_EVENT_FILTER_H

#include <stdint.h>

#define WEIR_SOL_EVENTS 0x7765 /* setsockopt's and getsockopt's level */
#define WEIR_EVENT_FILTER                                              \
  1 /* The option; its value is a struct weir_event_filter. getsockopt \
       gives ctnetlink's. */

/* Conditions, of NFNL_SUBSYS_CTNETLINK alone. */
#define WEIR_EVENT_PROTOCOL 1u /* the connection's protocol is in `protocols` */
#define WEIR_EVENT_ZONE 2u     /* its zone, of either direction, is `zone` */
#define WEIR_EVENT_MARK 4u     /* (its mark & mark_mask) == mark */

#define WEIR_EVENTS_ALL UINT64_MAX

/* The same by a message: of NFNL_SUBSYS_CTNETLINK, this number, and one attribute. It sets the
 * events of the asking socket's filter for ctnetlink, without conditions. */
#define WEIR_IPCTNL_MSG_CONFIG 0xC0
#define WEIR_CTA_CONFIG_EVENTS 1 /* u32, network order: 1 << IPCT_* */

struct weir_event_filter {
  uint32_t subsystem;  /* NFNL_SUBSYS_* */
  uint32_t conditions; /* WEIR_EVENT_*: all of them must hold */
  /* Of NFNL_SUBSYS_CTNETLINK: 1 << IPCT_*; a message that tells of several events is wanted for any
   * of them. Of NFNL_SUBSYS_CTNETLINK_EXP: 1 << IPEXP_*. Of all others: 1 << the message's number.
   */
  uint64_t events;
  uint32_t protocols[8]; /* Bit n % 32 of word n / 32 is IPPROTO n. */
  uint32_t zone;
  uint32_t mark;
  uint32_t mark_mask;
  uint32_t reserved; /* Zero. */
};

#endif
