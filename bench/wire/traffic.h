// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the programs of the wire benchmark (traffic.bpf.c) share with who runs them (traffic.cc).
#ifndef WEIR_BENCH_WIRE_TRAFFIC_H
#define WEIR_BENCH_WIRE_TRAFFIC_H

#include <linux/types.h>

#define WIRE_PORT_BITS 10  // Flows of one source address: this many bits of its port.
#define WIRE_FIRST_PORT 16384

struct wire_flows {
  __u64 next;    // Counts packets.
  __u32 mask;    // Flows, a power of two, less one.
  __u32 stride;  // Odd: the order in which the flows have their turn.
  __u32 first_source;
  __u32 destination;
  __u32 ifindex;
  __u8 gateway_mac[6];
  __u8 unused[2];
};

struct wire_counts {
  __u64 good;
  __u64 wrong_source;
  __u64 wrong_checksum;
  __u32 first_source;  // What the source is translated to.
  __u32 last_source;
};

struct wire_state {
  struct wire_flows flows;
  struct wire_counts counts;
};

#endif
