// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the engine and the XDP program (xdp.bpf.c) share for live-frame transmission.
#ifndef WEIR_LIVE_SLOT_H
#define WEIR_LIVE_SLOT_H

#include <linux/types.h>

#define WEIR_LIVE_SLOTS 512  // Of a worker; a power of two.
#define WEIR_LIVE_FRAME_BYTES 2040
#define WEIR_LIVE_META_BYTES 4  // Times the worker's number: of an empty frame's metadata.

struct weir_live_slot {
  __u32 length;
  __u32 unused;
  __u8 frame[WEIR_LIVE_FRAME_BYTES];
};

// One a worker. Both count packets since the port was opened.
struct weir_live_control {
  __u64 put;  // Written by the worker.
  __u64 unused[7];
  __u64 taken;  // Written by the program.
  __u64 unused_too[7];
};

#endif
