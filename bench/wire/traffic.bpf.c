// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Both ends of the wire benchmark: one program makes frames of 60 bytes (UDP over IPv4, one packet of
// one flow after the other), the other counts and checks what arrives.
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include "traffic.h"

#define SECTION(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;

volatile struct wire_state state;  // The only variable: .bss begins with it.

struct frame {
  __u8 dst_mac[ETH_ALEN], src_mac[ETH_ALEN];
  __u16 type;
  __u8 version_and_words, tos;
  __u16 length, id, fragment;
  __u8 ttl, protocol;
  __u16 checksum;
  __u16 src[2], dst[2];
  __u16 src_port, dst_port, udp_length, udp_checksum;
  __u16 payload[9];
} __attribute__((packed, aligned(2)));

#define BIG16(x) __builtin_bswap16(x)

ALWAYS_INLINE __u16 fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/// Of the 16-bit words as they lie in memory.
ALWAYS_INLINE __u32 sum(const __u16 *words, int count) {
  __u32 total = 0;
#pragma unroll
  for (int i = 0; i < count; i++) total += words[i];
  return total;
}

ALWAYS_INLINE __u32 pseudo_header(const struct frame *f) {
  return sum(f->src, 4) + BIG16(17) + f->udp_length;
}

SECTION("xdp") int generate(struct xdp_md *xdp) {
  struct frame *const f = (void *)(long)xdp->data;
  if ((void *)(f + 1) > (void *)(long)xdp->data_end) return XDP_ABORTED;
  const __u64 number = state.flows.next;
  state.flows.next = number + 1;
  const __u32 flow = (__u32)(number * state.flows.stride) & state.flows.mask;
  const __u32 src = state.flows.first_source + (flow >> WIRE_PORT_BITS);

#pragma unroll
  for (int i = 0; i < ETH_ALEN; i++) {
    f->dst_mac[i] = state.flows.gateway_mac[i];
    f->src_mac[i] = i == 0 ? 2 : 0;
  }
  f->type = BIG16(ETH_P_IP);
  f->version_and_words = 0x45;
  f->tos = 0;
  f->length = BIG16(sizeof *f - ETH_HLEN);
  f->id = 0;
  f->fragment = BIG16(0x4000);
  f->ttl = 64;
  f->protocol = 17;
  f->checksum = 0;
  f->src[0] = BIG16((__u16)(src >> 16));
  f->src[1] = BIG16((__u16)src);
  f->dst[0] = BIG16((__u16)(state.flows.destination >> 16));
  f->dst[1] = BIG16((__u16)state.flows.destination);
  f->src_port = BIG16((__u16)(WIRE_FIRST_PORT + (flow & ((1 << WIRE_PORT_BITS) - 1))));
  f->dst_port = BIG16(9999);
  f->udp_length = BIG16(8 + sizeof f->payload);
  f->udp_checksum = 0;
#pragma unroll
  for (int i = 0; i < 9; i++) f->payload[i] = (__u16)number;
  f->checksum = ~fold(sum((const __u16 *)&f->version_and_words, 10));
  f->udp_checksum = ~fold(pseudo_header(f) + sum(&f->src_port, 13));
  if (f->udp_checksum == 0) f->udp_checksum = 0xffff;
  return redirect(state.flows.ifindex, 0);
}

SECTION("xdp") int check(struct xdp_md *xdp) {
  const struct frame *const f = (const void *)(long)xdp->data;
  if ((const void *)(f + 1) > (const void *)(long)xdp->data_end) return XDP_PASS;
  if (f->type != BIG16(ETH_P_IP) || f->protocol != 17 || f->dst_port != BIG16(9999))
    return XDP_PASS;
  const __u32 src = (__u32)BIG16(f->src[0]) << 16 | BIG16(f->src[1]);
  if (src < state.counts.first_source || src > state.counts.last_source) {
    __sync_fetch_and_add(&state.counts.wrong_source, 1);
  } else if (fold(sum((const __u16 *)&f->version_and_words, 10)) != 0xffff ||
             fold(pseudo_header(f) + sum(&f->src_port, 13)) != 0xffff) {
    __sync_fetch_and_add(&state.counts.wrong_checksum, 1);
  } else {
    __sync_fetch_and_add(&state.counts.good, 1);
  }
  return XDP_DROP;
}

char licence_of_programs[] SECTION("license") = "Dual BSD/GPL";
