#include "routing/pending.h"

#include <algorithm>
#include <utility>

namespace weir::routing {

namespace {
constexpr std::uint32_t kNone = 0xffffffff;
}

/// A place for one held packet in a list.
struct Pending::Node {
  packet::Packet* packet = nullptr;
  std::uint32_t next = kNone;
};

struct Pending::Destination {
  NeighbourKey key;
  Time deadline{};
  std::uint32_t oldest = kNone;
  std::uint32_t newest = kNone;
  std::size_t packets = 0;
  std::size_t bytes = 0;
};

Pending::Pending(const PendingLimits& limits)
    : limits_(limits),
      destinations_(new Destination[limits.destinations]),
      nodes_(new Node[limits.packets]) {
  for (std::uint32_t i = 0; i < limits.packets; ++i)
    nodes_[i].next = i + 1 < limits.packets ? i + 1 : kNone;
  free_node_ = limits.packets == 0 ? kNone : 0;
}

Pending::~Pending() = default;

Pending::Destination* Pending::find_or_add(const NeighbourKey& key, Time now) {
  Destination* const end = destinations_.get() + destination_count_;
  Destination* const known =
      std::find_if(destinations_.get(), end, [&](const Destination& at) { return at.key == key; });
  if (known != end) return known;
  if (destination_count_ == limits_.destinations) return nullptr;
  *end = Destination{.key = key, .deadline = now + limits_.wait};
  ++destination_count_;
  seen_version_ = 0;  // It may have been answered before it was held: look at the next poll.
  if (next_deadline_ == Time{} || end->deadline < next_deadline_) next_deadline_ = end->deadline;
  return end;
}

packet::Packet* Pending::take_oldest(Destination& destination) {
  const std::uint32_t at = destination.oldest;
  packet::Packet* const packet = std::exchange(nodes_[at].packet, nullptr);
  destination.oldest = nodes_[at].next;
  if (destination.oldest == kNone) destination.newest = kNone;
  destination.packets -= 1;
  destination.bytes -= packet->length;
  nodes_[at].next = std::exchange(free_node_, at);
  --packet_count_;
  return packet;
}

packet::Packet* Pending::hold(const NeighbourKey& next_hop, packet::Packet* packet, Time now) {
  if (packet->length > limits_.bytes_a_destination || limits_.packets_a_destination == 0)
    return packet;
  Destination* const destination = find_or_add(next_hop, now);
  if (destination == nullptr) return packet;

  packet::Packet* displaced = nullptr;
  const bool is_full = destination->packets == limits_.packets_a_destination ||
                       destination->bytes + packet->length > limits_.bytes_a_destination ||
                       free_node_ == kNone;
  if (is_full) {
    // One packet makes room for one; a longer one that still doesn't fit is the one that goes.
    if (destination->packets == 0) return packet;
    const std::uint32_t oldest_bytes = nodes_[destination->oldest].packet->length;
    if (destination->bytes - oldest_bytes + packet->length > limits_.bytes_a_destination)
      return packet;
    displaced = take_oldest(*destination);
  }
  const std::uint32_t at = std::exchange(free_node_, nodes_[free_node_].next);
  nodes_[at] = {packet, kNone};
  if (destination->newest == kNone) {
    destination->oldest = at;
  } else {
    nodes_[destination->newest].next = at;
  }
  destination->newest = at;
  destination->packets += 1;
  destination->bytes += packet->length;
  ++packet_count_;
  return displaced;
}

void Pending::settle(Destination& destination, const Neighbour& answer, PendingSink& sink) {
  while (destination.packets > 0) {
    packet::Packet* const packet = take_oldest(destination);
    if (answer.status == Neighbour::Status::resolved) {
      sink.resolved(packet, answer.mac);
    } else {
      sink.failed(packet);
    }
  }
}

void Pending::poll(Neighbours& neighbours, Time now, PendingSink& sink) {
  if (destination_count_ == 0) return;
  const std::uint64_t version = neighbours.version();
  if (version == seen_version_ && now < next_deadline_) return;
  seen_version_ = version;

  for (std::size_t i = 0; i < destination_count_;) {
    Destination& destination = destinations_[i];
    const Neighbour answer = neighbours.find(destination.key);
    const bool is_over = answer.status != Neighbour::Status::unknown || now >= destination.deadline;
    if (!is_over) {
      ++i;
      continue;
    }
    // The sink may hold packets again, so the destination leaves the list before it is emptied.
    Destination settled = destination;
    destination = destinations_[--destination_count_];
    settle(settled, answer, sink);
  }
  find_next_deadline();
}

void Pending::flush(PendingSink& sink) {
  while (destination_count_ > 0) {
    Destination settled = destinations_[--destination_count_];
    settle(settled, {}, sink);
  }
  find_next_deadline();
}

void Pending::find_next_deadline() {
  next_deadline_ = {};
  for (std::size_t i = 0; i < destination_count_; ++i) {
    const Time deadline = destinations_[i].deadline;
    if (next_deadline_ == Time{} || deadline < next_deadline_) next_deadline_ = deadline;
  }
}

}  // namespace weir::routing
