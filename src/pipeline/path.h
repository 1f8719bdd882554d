#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "conntrack/tracker.h"
#include "fragments/fragmenter.h"
#include "helpers/helper.h"
#include "packet/batch.h"
#include "packet/pool.h"
#include "pipeline/counters.h"
#include "pipeline/flow_key.h"
#include "pipeline/icmp_error.h"
#include "pipeline/output.h"
#include "pipeline/path_observer.h"
#include "pipeline/shared.h"
#include "routing/pending.h"
#include "routing/view.h"
#include "rules/compiled.h"
#include "rules/reject_sender.h"

namespace weir::pipeline {

/// The packet's path through netfilter's stages, for one worker: path.cc reads from top to bottom.
/// Works on batches; whatever a batch leads to (sent, held, dropped and released, generated) is
/// done when a function returns, but for the sending itself, which Output::flush does.
class Path final : public rules::RejectSender, private routing::PendingSink {
 public:
  struct Parts {
    Shared& shared;
    std::uint16_t worker = 0;
    packet::Pool& pool;
    Output& output;
    Counters& counters;
  };
  explicit Path(const Parts& parts);
  ~Path() override;

  /// The moment that the following calls are in: the clock and the same since 1970.
  void set_time(Time now, Duration wall);

  /// Packets that a port has received; in_port is set.
  void from_wire(packet::Batch& batch);
  /// Packets that the host sends out by the port whose number is in in_port.
  void from_host(packet::Batch& batch);
  /// Held packets, fragments whose time is over.
  void poll();
  /// When poll() has something to do at the latest; Time::max() for never.
  Time next_deadline() const;

  /// Told what rules and the path do; null for nobody. For replay and tracing.
  void set_observer(PathObserver* observer) { context_.observer = observer_ = observer; }

  // rules::RejectSender
  void reject_icmp(packet::Packet& about, std::uint8_t type, std::uint8_t code) override;
  void reject_tcp_reset(packet::Packet& about) override;

 private:
  // The stages, in the order of the path: path.cc.
  void begin_batch();
  void check(packet::Batch& batch);
  void ingress(packet::Batch& batch);
  void defragment(packet::Batch& batch);
  void track(packet::Batch& batch, packet::Batch& later);
  void translate(packet::Batch& batch, rules::Hook hook);
  void route(packet::Batch& batch, packet::Batch& local);
  void prepare_forward(packet::Batch& batch);
  void forward(packet::Batch& batch);
  void input(packet::Batch& batch);
  void output_hooks(packet::Batch& batch);
  void route_again(packet::Batch& batch, std::span<const RoutingBasis> before);
  void postrouting(packet::Batch& batch);
  void confirm(packet::Batch& batch);
  void from_self();
  void sweep_fragments();

  // Rules and NAT: path_rules.cc.
  void run_chains(packet::Batch& batch, rules::Hook hook, std::int32_t from, std::int32_t until);
  bool translate(packet::Packet& packet, rules::Hook hook);

  // Helpers and what they rewrite: path_helpers.cc.
  bool needs_help(const packet::Packet& packet) const {
    return packet.ct.entry != 0 &&
           (tracker_.connection(packet).status() & conntrack::status::kNeedsExtension) != 0;
  }
  bool help(packet::Packet& packet);
  bool run_helper(packet::Packet& packet, const helpers::Helper& helper);

  // The way out: path_send.cc.
  void apply_route(packet::Packet& packet, const routing::Route& route);
  void apply_host_route(packet::Packet& packet);
  bool check_size(packet::Packet& packet);
  bool accept_options(const packet::Packet& packet);
  void sign_options(packet::Packet& packet);
  void transmit(packet::Packet* packet);
  void send_to_next_hop(packet::Packet* packet);
  void deliver(packet::Packet* packet);
  void pass_by(packet::Packet* packet);
  template <typename Send>
  void in_pieces(packet::Packet* packet, std::uint32_t mtu_bytes, Send&& send);
  void drop(packet::Packet* packet, packet::Drop reason);

  // Answers of weir's own: path_answers.cc.
  void answer(const packet::Packet& about, std::uint8_t type, std::uint8_t code,
              std::uint32_t rest = 0);
  void answer_no_route(const packet::Packet& about, packet::Drop reason);
  void answer_too_big(const packet::Packet& about);
  void emit(packet::Packet* packet, const packet::Packet& about, const routing::Route& back);

  // routing::PendingSink
  void resolved(packet::Packet* packet, const routing::Mac& mac) override;
  void failed(packet::Packet* packet) override;

  Shared& shared_;
  conntrack::Tracker& tracker_;
  packet::Pool& pool_;
  Output& output_;
  Counters& counters_;
  rules::Context context_;
  PathObserver* observer_ = nullptr;
  const rules::CompiledRuleset* ruleset_ = nullptr;  // Of this batch.
  const routing::View* view_ = nullptr;              // Likewise.
  Time now_{};

  routing::RecentNeighbours next_hops_;
  std::uint16_t last_port_ = 0;  // By which a packet has left.
  routing::Pending pending_;
  fragments::FragmentIds fragment_ids_;
  IcmpLimiter icmp_limiter_;
  Time next_fragment_sweep_{};
  std::vector<packet::Packet*> generated_;  // Answers of weir's own that wait for their turn.
  std::vector<packet::Packet*>
      dead_;  // Dropped packets whose entries those answers still refer to.
};

}  // namespace weir::pipeline
