// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Three tc programs that put weir between a port and the host's stack. The kernel keeps ARP,
// neighbour discovery, everything that isn't IP and tagged frames; weir gets a copy of all other IP
// packets by AF_PACKET, so the stack must not see them too. When the engine is gone the programs
// stay: closed. With the policy open they let the kernel have everything once the engine's
// heartbeat has stopped: nobody may be left who could take them away.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "injected.h"

#define SECTION(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*load_bytes)(const void *skb, __u32 offset, void *to,
                          __u32 len) = (void *)BPF_FUNC_skb_load_bytes;
static long (*store_bytes)(void *skb, __u32 offset, const void *from, __u32 len,
                           __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;

static void *(*look_up)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*boot_time_ns)(void) = (void *)BPF_FUNC_ktime_get_boot_ns;

const volatile __u32 own_mark = 0;     // Set on frames that come from the engine.
const volatile __u32 tap_ifindex = 0;  // The port's TAP.
const volatile __u32 port_ifindex = 0;
const volatile __u32 fails_open = 0;
const volatile __u32 has_generic_xdp = 0;  // The port's XDP program sees injected frames too.

#define MEMBER(name, value) int(*name)[value]
struct {
  MEMBER(type, BPF_MAP_TYPE_ARRAY);
  MEMBER(map_flags, BPF_F_MMAPABLE);
  MEMBER(max_entries, 1);
  __u32 *key;
  __u64 *value;  // When a worker last took a turn, by CLOCK_BOOTTIME.
} heartbeat SECTION(".maps");

enum { kIcmp6 = 58, kFirstNdType = 133, kLastNdType = 137, kHopLimitNd = 255 };
enum { kNextHeaderAt = 6, kHopLimitAt = 7, kTypeAt = 40, kNeeded = 41 };

/// Neighbour discovery (RFC 4861 section 4): router and neighbour solicitation, advertisement,
/// redirect.
ALWAYS_INLINE int is_neighbour_discovery(struct __sk_buff *skb) {
  __u8 header[kNeeded];
  if (load_bytes(skb, ETH_HLEN, header, sizeof header)) return 0;
  return header[kNextHeaderAt] == kIcmp6 && header[kHopLimitAt] == kHopLimitNd &&
         header[kTypeAt] >= kFirstNdType && header[kTypeAt] <= kLastNdType;
}

/// True for what the engine handles; the rest is the kernel's.
ALWAYS_INLINE int is_for_weir(struct __sk_buff *skb) {
  if (skb->vlan_present && (skb->vlan_tci & 0xfff) != 0) return 0;
  if (skb->protocol == __builtin_bswap16(ETH_P_IP)) return 1;
  if (skb->protocol == __builtin_bswap16(ETH_P_IPV6)) return !is_neighbour_discovery(skb);
  return 0;
}

/// True when the engine doesn't run and the kernel is to forward in its place.
ALWAYS_INLINE int is_abandoned(void) {
  const __s64 patience_ns = 1000000000;
  __u32 first = 0;
  const volatile __u64 *beat;
  if (!fails_open) return 0;
  beat = look_up(&heartbeat, &first);
  return beat && (__s64)(boot_time_ns() - *beat) > patience_ns;
}

/// What io/host_mark.h says: a marked frame between engine and host has this for a source address.
struct marked_source {
  __u8 prefix[2];
  __u8 mark[4];
};
enum { kSourceAt = 6, kPrefix0 = 0x03, kPrefix1 = 0x77 };

ALWAYS_INLINE __u32 mark_from_engine(struct __sk_buff *skb) {
  struct marked_source source;
  __u32 mark;
  if (load_bytes(skb, kSourceAt, &source, sizeof source)) return 0;
  if (source.prefix[0] != kPrefix0 || source.prefix[1] != kPrefix1) return 0;
  __builtin_memcpy(&mark, source.mark, sizeof mark);
  return mark;
}

ALWAYS_INLINE void tell_mark(struct __sk_buff *skb) {
  struct marked_source source = {.prefix = {kPrefix0, kPrefix1}};
  const __u32 mark = skb->mark;
  if (mark == 0) return;
  __builtin_memcpy(source.mark, &mark, sizeof mark);
  store_bytes(skb, kSourceAt, &source, sizeof source, 0);
}

/// Port ingress: what the engine injected for the host goes up, what the engine takes stops here.
SECTION("tc") int weir_ingress(struct __sk_buff *skb) {
  if (skb->mark == own_mark) {
    skb->mark = mark_from_engine(skb);
    return TC_ACT_OK;
  }
  return is_for_weir(skb) && !is_abandoned() ? TC_ACT_SHOT : TC_ACT_OK;
}

/// Port egress: what the host sends goes to the engine first; the engine's own frames pass.
SECTION("tc") int weir_egress(struct __sk_buff *skb) {
  if (skb->mark == own_mark) return TC_ACT_OK;
  if (!is_for_weir(skb) || is_abandoned()) return TC_ACT_OK;
  tell_mark(skb);
  return redirect(tap_ifindex, 0);
}

/// TAP ingress: what the engine writes for the host arrives on the real port.
SECTION("tc") int weir_inject(struct __sk_buff *skb) {
  skb->mark = own_mark;
  if (has_generic_xdp) {
    const __u16 type = skb->protocol == __builtin_bswap16(ETH_P_IP)
                           ? __builtin_bswap16(WEIR_INJECTED_IP)
                           : __builtin_bswap16(WEIR_INJECTED_IP6);
    store_bytes(skb, 2 * ETH_ALEN, &type, sizeof type, 0);
  }
  return redirect(port_ifindex, BPF_F_INGRESS);
}

char licence_of_programs[] SECTION("license") = "Dual BSD/GPL";
