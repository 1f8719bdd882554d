// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The XDP program of an AF_XDP port, in both directions.
//
// From the device: the IP packets that weir takes go to the socket of their receive queue. ARP,
// neighbour discovery, other protocols and tagged frames are the kernel's.
//
// To the device (live-frame transmission): the engine puts packets into `slots` and runs this
// program on as many empty frames (BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES); each run
// fills one frame from the next slot and redirects it to the device. It is the same program because
// the kernel starts a run of a program that is attached nowhere by waiting for RCU, 57 ms. Such a
// run is told apart by the device that it claims to come from, loopback; how much metadata its frames
// begin with says which worker's slots they take.
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "injected.h"
#include "live_slot.h"

#define SECTION(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// A map's definition as libbpf reads it from the program's types.
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) type *name

static void *(*lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
static long (*adjust_tail)(struct xdp_md *xdp, int delta) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*adjust_meta)(struct xdp_md *xdp, int delta) = (void *)BPF_FUNC_xdp_adjust_meta;
static long (*store_bytes)(struct xdp_md *xdp, __u32 offset, void *from,
                           __u32 len) = (void *)BPF_FUNC_xdp_store_bytes;

const volatile __u32 port_ifindex = 0;
const volatile __u32 is_generic = 0;

struct {
  NUMBER(type, BPF_MAP_TYPE_XSKMAP);
  NUMBER(max_entries, 1);  // The device's receive queues, set before loading.
  TYPE(key, __u32);
  TYPE(value, __u32);
} sockets SECTION(".maps");

struct {
  NUMBER(type, BPF_MAP_TYPE_ARRAY);
  NUMBER(map_flags, BPF_F_MMAPABLE);
  NUMBER(max_entries, 1);  // WEIR_LIVE_SLOTS for each worker.
  TYPE(key, __u32);
  TYPE(value, struct weir_live_slot);
} slots SECTION(".maps");

struct {
  NUMBER(type, BPF_MAP_TYPE_ARRAY);
  NUMBER(map_flags, BPF_F_MMAPABLE);
  NUMBER(max_entries, 1);  // Workers.
  TYPE(key, __u32);
  TYPE(value, struct weir_live_control);
} control SECTION(".maps");

enum { kIcmp6 = 58, kFirstNdType = 133, kLastNdType = 137, kHopLimitNd = 255 };
enum { kNextHeaderAt = 6, kHopLimitAt = 7, kTypeAt = 40, kNeeded = 41, kTagBytes = 4 };

/// What the tc program says of a frame (port.bpf.c), before the kernel has looked at it.
ALWAYS_INLINE int is_for_weir(const __u8 *frame, const __u8 *end) {
  if (frame + ETH_HLEN > end) return 0;
  __u16 type = *(const __u16 *)(frame + 2 * ETH_ALEN);
  const __u8 *ip = frame + ETH_HLEN;
  if (type == __builtin_bswap16(ETH_P_8021Q)) {  // A tag with a priority and no VLAN id.
    if (ip + kTagBytes > end) return 0;
    if ((*(const __u16 *)ip & __builtin_bswap16(0xfff)) != 0) return 0;
    type = *(const __u16 *)(ip + 2);
    ip += kTagBytes;
  }
  if (type == __builtin_bswap16(ETH_P_IP)) return 1;
  if (type != __builtin_bswap16(ETH_P_IPV6)) return 0;
  if (ip + kNeeded > end) return 1;
  return !(ip[kNextHeaderAt] == kIcmp6 && ip[kHopLimitAt] == kHopLimitNd &&
           ip[kTypeAt] >= kFirstNdType && ip[kTypeAt] <= kLastNdType);
}

ALWAYS_INLINE int transmit(struct xdp_md *xdp) {
  const __u32 metadata = xdp->data - xdp->data_meta;
  const __u32 worker = metadata / WEIR_LIVE_META_BYTES;
  struct weir_live_control *const state = lookup(&control, &worker);
  if (!state) return XDP_DROP;
  const __u64 next = state->taken;
  if (next >= *(volatile __u64 *)&state->put) return XDP_DROP;
  state->taken = next + 1;
  const __u32 at = worker * WEIR_LIVE_SLOTS + (next & (WEIR_LIVE_SLOTS - 1));
  struct weir_live_slot *const slot = lookup(&slots, &at);
  if (!slot) return XDP_DROP;
  const __u32 length = slot->length;
  if (length < ETH_HLEN || length > WEIR_LIVE_FRAME_BYTES) return XDP_DROP;
  const int now = (int)(xdp->data_end - xdp->data);
  if (now != (int)length && adjust_tail(xdp, (int)length - now)) return XDP_DROP;
  if (store_bytes(xdp, 0, slot->frame, length)) return XDP_DROP;
  if (metadata != 0 && adjust_meta(xdp, metadata)) return XDP_DROP;
  return redirect(port_ifindex, 0);
}

/// Gives a frame that the engine has injected its own type back. False for any other.
ALWAYS_INLINE int restore_injected(__u8 *frame, const __u8 *end) {
  __u16 *const type = (__u16 *)(frame + 2 * ETH_ALEN);
  if (frame + ETH_HLEN > end) return 0;
  if (*type == __builtin_bswap16(WEIR_INJECTED_IP)) {
    *type = __builtin_bswap16(ETH_P_IP);
  } else if (*type == __builtin_bswap16(WEIR_INJECTED_IP6)) {
    *type = __builtin_bswap16(ETH_P_IPV6);
  } else {
    return 0;
  }
  return 1;
}

SECTION("xdp") int weir_xdp(struct xdp_md *xdp) {
  if (xdp->ingress_ifindex != port_ifindex) return transmit(xdp);
  __u8 *const frame = (__u8 *)(long)xdp->data;
  const __u8 *const end = (const __u8 *)(long)xdp->data_end;
  if (is_generic && restore_injected(frame, end)) return XDP_PASS;
  if (!is_for_weir(frame, end)) return XDP_PASS;
  return redirect_map(&sockets, xdp->rx_queue_index, XDP_PASS);
}

char licence_of_programs[] SECTION("license") = "Dual BSD/GPL";
