// The packet's path. Read it from top to bottom: it is netfilter's order (enum
// nf_ip_hook_priorities), and docs/PACKET_PATH.md tells the same story in prose. Chains of rules
// may stand at any priority; the fixed stages stand where netfilter has them, and `run_chains` runs
// whatever lies between two of them.
//
// A stage takes a batch and leaves in it the packets that go on. Every other packet has then been
// dropped, held, or put into another batch: none is lost on the way, and none is in two places.
//
// Answers of weir's own (ICMP errors, TCP resets) are made where they are needed and wait in
// `generated_` until the batch that caused them is done; then they walk the host's way out.
#include "pipeline/path.h"

#include <algorithm>

#include "nat/expected.h"
#include "pipeline/flow_key.h"
#include "pipeline/forward_check.h"
#include "pipeline/header_check.h"
#include "pipeline/log_invalid.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::pipeline {

using conntrack::Confirmed;
using packet::Batch;
using packet::Drop;
using packet::Packet;
using rules::Hook;
namespace priority = rules::priority;

namespace {

/// How often the reassembly is asked for datagrams whose time is over.
constexpr Duration kFragmentSweep = std::chrono::milliseconds(100);

/// A packet may lose its tuple to another worker more than once, but not for ever.
constexpr int kConfirmAttempts = 4;

/// Keeps in `batch`, in order, the packets for which `goes_on` is true.
template <typename GoesOn>
void keep(Batch& batch, GoesOn&& goes_on) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Packet* const packet = batch[i];
    if (goes_on(packet)) batch[kept++] = packet;
  }
  batch.shrink_to(kept);
}

}  // namespace

Path::Path(const Parts& parts)
    : shared_(parts.shared),
      tracker_(parts.shared.conntrack.tracker(parts.worker)),
      pool_(parts.pool),
      output_(parts.output),
      counters_(parts.counters),
      fragment_ids_(parts.shared.key.low + parts.worker),
      icmp_limiter_(parts.shared.icmp_limits, parts.shared.key) {
  context_.services = &shared_.services;
  context_.worker = parts.worker;
  context_.reject = this;
}

Path::~Path() {
  begin_batch();  // What earlier batches looked at may be gone.
  pending_.flush(*this);
  for (Packet* packet : generated_) pool_.release(packet);
}

void Path::set_time(Time now, Duration wall) {
  now_ = now;
  context_.now = now;
  context_.wall = wall;
}

// From a port.

void Path::from_wire(Batch& batch) {
  counters_.received.add(batch.size());
  begin_batch();
  check(batch);
  ingress(batch);

  run_chains(batch, Hook::prerouting, priority::kFirst, priority::kDefrag);
  defragment(batch);
  run_chains(batch, Hook::prerouting, priority::kDefrag, priority::kConntrack);
  Batch later;
  do {
    track(batch, later);
    run_chains(batch, Hook::prerouting, priority::kConntrack, priority::kNatDst);
    translate(batch, Hook::prerouting);
    run_chains(batch, Hook::prerouting, priority::kNatDst, priority::kLast);

    Batch local;
    route(batch, local);
    forward(batch);
    input(local);
    std::swap(batch, later);
    later.clear();
  } while (!batch.is_empty());

  from_self();
}

void Path::forward(Batch& batch) {
  prepare_forward(batch);
  run_chains(batch, Hook::forward, priority::kFirst, priority::kLast);
  for (Packet* packet : batch) {
    sign_options(*packet);
    counters_.ports[packet->in_port].forwarded.add();
  }
  counters_.forwarded.add(batch.size());
  postrouting(batch);
}

void Path::input(Batch& batch) {
  run_chains(batch, Hook::input, priority::kFirst, priority::kNatSrc);
  translate(batch, Hook::input);
  run_chains(batch, Hook::input, priority::kNatSrc, priority::kLast);
  confirm(batch);
  for (Packet* packet : batch) deliver(packet);
}

// From the host.

void Path::from_host(Batch& batch) {
  counters_.from_host.add(batch.size());
  begin_batch();
  check(batch);
  for (Packet* packet : batch) apply_host_route(*packet);
  counters_.sent_for_host.add(batch.size());
  output_hooks(batch);
  from_self();
}

void Path::output_hooks(Batch& batch) {
  run_chains(batch, Hook::output, priority::kFirst, priority::kDefrag);
  defragment(batch);
  run_chains(batch, Hook::output, priority::kDefrag, priority::kConntrack);
  Batch later;
  do {
    track(batch, later);
    std::array<RoutingBasis, packet::kBatchMax> before;
    for (std::size_t i = 0; i < batch.size(); ++i) before[i] = RoutingBasis::of(*batch[i]);
    run_chains(batch, Hook::output, priority::kConntrack, priority::kNatDst);
    translate(batch, Hook::output);
    run_chains(batch, Hook::output, priority::kNatDst, priority::kLast);
    route_again(batch, before);
    postrouting(batch);
    std::swap(batch, later);
    later.clear();
  } while (!batch.is_empty());
}

/// Sends weir's own answers, each batch of them like packets of the host; an answer never leads to
/// another.
void Path::from_self() {
  while (!generated_.empty()) {
    Batch batch;
    const std::size_t count = std::min(generated_.size(), batch.room());
    for (std::size_t i = 0; i < count; ++i) batch.add(generated_[i]);
    generated_.erase(generated_.begin(), generated_.begin() + static_cast<std::ptrdiff_t>(count));
    counters_.generated.add(count);
    output_hooks(batch);
  }
  for (Packet* packet : dead_) {
    tracker_.discard(*packet);
    pool_.release(packet);
  }
  dead_.clear();
}

// The way out that all have in common.

void Path::postrouting(Batch& batch) {
  run_chains(batch, Hook::postrouting, priority::kFirst, priority::kNatSrc);
  translate(batch, Hook::postrouting);
  run_chains(batch, Hook::postrouting, priority::kNatSrc, priority::kLast);
  confirm(batch);
  for (Packet* packet : batch) transmit(packet);
}

// Timers.

void Path::poll() {
  begin_batch();
  pending_.poll(shared_.neighbours, now_, *this);
  if (now_ >= next_fragment_sweep_) sweep_fragments();
  from_self();
}

/// Gives up datagrams that never became whole; IPv6 says so to their source (RFC 8200 section 4.5).
void Path::sweep_fragments() {
  next_fragment_sweep_ = now_ + kFragmentSweep;
  std::array<Packet*, packet::kBatchMax> firsts;
  const auto expired = shared_.reassembly.expire(now_, pool_, firsts);
  counters_.drops[static_cast<std::size_t>(Drop::fragment_timeout)].add(expired.removed);
  for (std::size_t i = 0; i < expired.first_count; ++i) {
    if (firsts[i]->family == wire::Family::ip6) {
      answer(*firsts[i], wire::icmpv6::kTimeExceeded, wire::icmp::kReassemblyExceeded);
    }
    pool_.release(firsts[i]);
  }
}

Time Path::next_deadline() const {
  const Time held = pending_.next_deadline();
  const Time sweep =
      shared_.reassembly.counters().memory_used_bytes > 0 ? next_fragment_sweep_ : Time::max();
  return std::min(held == Time{} ? Time::max() : held, sweep);
}

// The stages.

void Path::begin_batch() {
  ruleset_ = shared_.ruleset.running();
  view_ = &shared_.routing.view();
}

/// Headers once and for all; what isn't IP is the host's.
void Path::check(Batch& batch) {
  const bool is_open = shared_.is_open.load(std::memory_order_acquire);
  keep(batch, [&](Packet* packet) {
    const HeaderVerdict verdict = check_headers(*packet);
    packet->in_ifindex = shared_.ports[packet->in_port]->ifindex.load(std::memory_order_relaxed);
    if (verdict == HeaderVerdict::drop) return drop(packet, packet->drop), false;
    if (verdict == HeaderVerdict::to_host) return pass_by(packet), false;
    if (!is_open) return drop(packet, Drop::not_loaded), false;
    return true;
  });
}

void Path::ingress(Batch& batch) {
  if (ruleset_->has_chains(rules::Family::netdev, Hook::ingress, priority::kFirst,
                           priority::kLast)) {
    run_chains(batch, Hook::ingress, priority::kFirst, priority::kLast);
  }
}

void Path::defragment(Batch& batch) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Packet* packet = batch[i];
    if (packet->is_fragment) {
      // The two directions through the host must not mix: the kernel's IP_DEFRAG_CONNTRACK_IN and
      // _OUT.
      const std::uint16_t user = packet->is_from_host ? 1 : 0;
      Drop why = Drop::none;
      packet = shared_.reassembly.gather(packet, user, now_, pool_, why);
      if (why != Drop::none) counters_.drops[static_cast<std::size_t>(why)].add();
    }
    if (packet != nullptr) batch[kept++] = packet;
  }
  batch.shrink_to(kept);
}

/// Finds each packet's connection or begins one. A packet that may belong to a connection which an
/// earlier packet of this batch has just begun waits in `later`. One that was expected is
/// translated like its master.
void Path::track(Batch& batch, Batch& later) {
  batch.now = now_;
  tracker_.track(batch, later);
  const conntrack::Sysctl& sysctl = shared_.conntrack.sysctl();
  keep(batch, [&](Packet* packet) {
    if (packet->ct.reason != 0) {
      context_.packet = packet;
      log_invalid(context_, sysctl);
    }
    const bool may_go =
        packet->drop == Drop::none && (packet->ct.info != packet::CtInfo::related ||
                                       nat::follow_master(shared_.nat, tracker_, *packet, now_));
    if (may_go) return true;
    drop(packet, packet->drop);
    return false;
  });
}

/// Where to: on to another port, or up to the host.
void Path::route(Batch& batch, Batch& local) {
  keep(batch, [&](Packet* packet) {
    if (!accept_options(*packet)) return drop(packet, Drop::bad_ip_options), false;
    const ForwardDecision may = check_forwarding(*packet);
    if (may.forwarding == Forwarding::refused) return drop(packet, packet->drop), false;
    const routing::InputDecision decision = view_->input(flow_key(*packet));
    using Action = routing::InputDecision::Action;
    if (decision.action == Action::local) {
      packet->drop = Drop::none;
      local.add(packet);
      return false;
    }
    if (may.forwarding == Forwarding::host_only) {
      if (may.needs_scope_error)
        answer(*packet, wire::icmpv6::kUnreachable, wire::icmpv6::kBeyondScope);
      return drop(packet, packet->drop), false;
    }
    if (decision.action == Action::drop) {
      answer_no_route(*packet, decision.drop);
      return drop(packet, decision.drop), false;
    }
    apply_route(*packet, decision.route);
    return true;
  });
}

/// What a router does before the forward hook: TTL, size, options (RFC 1812 section 5.3,
/// ip_forward).
void Path::prepare_forward(Batch& batch) {
  keep(batch, [&](Packet* packet) {
    const bool is_ip = packet->family == wire::Family::ip;
    std::uint8_t& ttl = packet->frame()[packet->l3_offset + (is_ip ? 8 : 7)];
    if (ttl <= 1) {
      answer(*packet, is_ip ? wire::icmp::kTimeExceeded : wire::icmpv6::kTimeExceeded,
             wire::icmp::kTtlExceeded);
      return drop(packet, Drop::ttl_exceeded), false;
    }
    if (!check_size(*packet)) return drop(packet, Drop::too_big), false;
    if (is_ip) {
      wire::at<wire::Ipv4>(packet->frame() + packet->l3_offset).decrement_ttl();
    } else {
      --ttl;
    }
    return true;
  });
}

/// The local packet's second routing (ip_route_me_harder): when rules or NAT have changed what the
/// first one was based on.
void Path::route_again(Batch& batch, std::span<const RoutingBasis> before) {
  keep(batch, [&](Packet* packet) {
    while (before.front().packet != packet)
      before = before.subspan(1);  // Some have gone meanwhile.
    if (before.front().is_still_true()) return true;
    routing::FlowKey key = flow_key(*packet);
    key.iif = 0;
    const routing::Route found = view_->lookup(key);
    if (found.type == routing::RouteType::local) return deliver(packet), false;
    if (found.type != routing::RouteType::unicast) return drop(packet, Drop::no_route), false;
    apply_route(*packet, found);
    return true;
  });
}

/// The last stage for a packet that has passed all rules: its connection's helper looks at it, and
/// the connection becomes visible to others.
void Path::confirm(Batch& batch) {
  keep(batch, [&](Packet* packet) {
    if (needs_help(*packet) && !help(*packet)) return drop(packet, packet->drop), false;
    for (int attempt = 0; attempt < kConfirmAttempts; ++attempt) {
      switch (tracker_.confirm(*packet, now_)) {
        case Confirmed::done:
          return true;
        case Confirmed::no_room:
          return drop(packet, Drop::conntrack_table_full), false;
        case Confirmed::reply_taken:
          if (!shared_.nat.settle_clash(tracker_, *packet, now_))
            return drop(packet, packet->drop), false;
          break;
        case Confirmed::lost_race:
          if (!shared_.nat.restore_loser(tracker_, *packet))
            return drop(packet, packet->drop), false;
      }
    }
    return drop(packet, Drop::nat_no_tuple), false;
  });
}

}  // namespace weir::pipeline
