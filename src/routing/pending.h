#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "packet/packet.h"
#include "routing/neighbours.h"

namespace weir::routing {

struct PendingLimits {
  std::size_t destinations = 256;            // Next hops that may be waited for at once.
  std::size_t packets = 1024;                // Held by this worker, all destinations.
  std::size_t packets_a_destination = 101;   // What the kernel's default unres_qlen comes to.
  std::size_t bytes_a_destination = 212992;  // neigh/*/unres_qlen_bytes.
  Duration wait = std::chrono::seconds(3);   // Three probes, a second apart.
};

/// What to do with packets that were held.
class PendingSink {
 public:
  virtual ~PendingSink() = default;
  /// The next hop is known: send the packet to `mac`.
  virtual void resolved(packet::Packet* packet, const Mac& mac) = 0;
  /// The next hop doesn't answer: ICMP host unreachable, then release the packet.
  virtual void failed(packet::Packet* packet) = 0;
};

/// Packets that wait for the link address of their next hop. One a worker, used by it alone; the
/// packets are its until they leave through the sink. Bounded in every direction: as in the kernel,
/// a destination that has too much waiting loses its oldest packet, which `hold` hands back.
class Pending {
 public:
  explicit Pending(const PendingLimits& limits = {});
  ~Pending();
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  /// Takes a packet whose next hop isn't resolved. Returns the packet that had to make room, to be
  /// dropped as neighbour_queue_full: null, an older one, or `packet` itself.
  [[nodiscard]] packet::Packet* hold(const NeighbourKey& next_hop, packet::Packet* packet,
                                     Time now);

  /// Hands on what has been resolved, has failed, or has waited too long. Cheap when nothing has
  /// changed: looks at entries only when `neighbours` has a new version or a deadline has passed.
  void poll(Neighbours& neighbours, Time now, PendingSink& sink);

  /// Hands everything to sink.failed (a port goes away, the worker ends).
  void flush(PendingSink& sink);

  std::size_t size() const { return packet_count_; }
  /// When poll has to be called at the latest; the zero Time when nothing waits.
  Time next_deadline() const { return next_deadline_; }

 private:
  struct Destination;

  Destination* find_or_add(const NeighbourKey& key, Time now);
  packet::Packet* take_oldest(Destination& destination);
  void settle(Destination& destination, const Neighbour& answer, PendingSink& sink);
  void find_next_deadline();

  PendingLimits limits_;
  std::unique_ptr<Destination[]> destinations_;
  std::size_t destination_count_ = 0;
  std::size_t packet_count_ = 0;
  std::uint64_t seen_version_ = 0;
  Time next_deadline_{};
  struct Node;
  std::unique_ptr<Node[]> nodes_;
  std::uint32_t free_node_ = 0;
};

}  // namespace weir::routing
