// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Generic XDP sees what the engine injects for the host, and sees no mark. So between the TAP's tc
// program (port.bpf.c) and the port's XDP program (xdp.bpf.c) such a frame has one of the types that
// IEEE 802 leaves to local experiments. A frame that comes from the wire like that gains nothing: the
// tc program at the port's ingress drops IP without the engine's mark.
#ifndef WEIR_INJECTED_H
#define WEIR_INJECTED_H

#define WEIR_INJECTED_IP 0x88b5
#define WEIR_INJECTED_IP6 0x88b6

#endif
