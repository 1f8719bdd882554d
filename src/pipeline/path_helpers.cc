// What becomes of packets whose connection has a helper, or payloads that were rewritten:
// netfilter's nf_confirm before it confirms.
#include "helpers/list.h"
#include "nat/expected.h"
#include "nat/payload.h"
#include "nat/sequence.h"
#include "pipeline/path.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::pipeline {

using packet::CtInfo;
using packet::Packet;

namespace {

std::uint32_t sequence_of(const Packet& packet) {
  if (packet.l4_protocol != wire::protocol::kTcp || packet.l4().size() < sizeof(wire::Tcp))
    return 0;
  return wire::at<wire::Tcp>(packet.l4().data()).sequence();
}

}  // namespace

/// Lets the connection's helper see the packet, and adjusts its sequence numbers. False when it is
/// to be dropped. Requires: the connection has an extension.
bool Path::help(Packet& packet) {
  if (packet.ct.info == CtInfo::related_reply) return true;  // An ICMP error.
  const conntrack::Extension* const extension = tracker_.extension(packet.ct.entry);
  if (extension == nullptr) return true;
  // What the helper rewrites in this very packet moves only what comes after it.
  const bool is_adjusted =
      (tracker_.connection(packet).status() & conntrack::status::kSeqAdjust) != 0;
  if (const helpers::Helper* const helper = helpers::find(extension->helper)) {
    if (!run_helper(packet, *helper)) return packet.drop = packet::Drop::helper_refused, false;
  }
  if (!is_adjusted || packet.l4_protocol != wire::protocol::kTcp) return true;
  if (nat::adjust_sequence(packet, tracker_.sequence_adjustments(packet.ct.entry))) return true;
  return packet.drop = packet::Drop::truncated, false;
}

bool Path::run_helper(Packet& packet, const helpers::Helper& helper) {
  const conntrack::Connection connection = tracker_.connection(packet);
  const std::uint32_t number = packet.ct.entry;
  const auto direction =
      packet.ct.is_reply() ? conntrack::Direction::reply : conntrack::Direction::original;
  const std::uint32_t sequence = sequence_of(packet);
  const auto adjustments = tracker_.sequence_adjustments(number);
  const conntrack::Extension::HelperState state = tracker_.helper_state(number);
  const nat::Findings findings = helper.inspect({
      .bytes = nat::payload_of(packet),
      .connection = connection,
      .direction = direction,
      .is_established =
          packet.ct.info == CtInfo::established || packet.ct.info == CtInfo::established_reply,
      .sequence = sequence,
      .was_rewritten = adjustments[static_cast<std::size_t>(direction)].has_begin(sequence),
      .state = state,
  });
  if (findings.remembered) tracker_.set_helper_state(number, *findings.remembered);
  if (observer_ != nullptr && (findings.count != 0 || findings.must_drop)) {
    observer_->on_findings(packet, helper, findings);
  }
  if (findings.must_drop) return false;
  return nat::expect_findings(tracker_, packet, findings, helper.policies(), shared_.key, now_);
}

}  // namespace weir::pipeline
