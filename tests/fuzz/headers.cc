// One frame and everything that reads headers: the header check, tuples, checksums, TCP options,
// cutting into fragments and segments. The first byte of the input chooses, the rest is the frame.
#include <array>

#include "conntrack/extract.h"
#include "fragments/fragmenter.h"
#include "packet/checksum.h"
#include "packet/pool.h"
#include "packet/segment.h"
#include "pipeline/header_check.h"
#include "rules/expr/header_base.h"
#include "rules/expr/tcp_option.h"
#include "tests/fuzz/require.h"

namespace weir::test {
namespace {

void check_offsets(const packet::Packet& packet) {
  require(packet.l3_offset + packet.ip_length <= packet.length, "the datagram ends in the frame");
  require(packet.l4_offset >= packet.l3_offset + 20, "a header lies before the transport header");
  require(packet.l4_offset <= packet.l3_offset + packet.ip_length,
          "the transport header begins in the datagram");
}

void walk_tcp_options(packet::Packet& packet) {
  for (unsigned kind = 0; kind < 256; ++kind) {
    const auto place = rules::find_tcp_option(packet, static_cast<std::uint8_t>(kind));
    if (!place || place->offset + place->length > rules::tcp_header_bytes(packet)) continue;
    const std::array<std::uint8_t, 2> value = {5, 0xb4};
    if (place->length >= 4)
      rules::write_tcp_option(packet, place->offset + 2, static_cast<std::uint8_t>(kind), value);
    if (kind == 4) rules::strip_tcp_option(packet, *place);
  }
}

void cut(packet::Packet& packet, std::uint8_t choice, packet::Pool& pool) {
  if ((choice & 1) != 0) {
    packet.gso = {.type = packet.family == wire::Family::ip ? packet::Gso::Type::tcp4
                                                            : packet::Gso::Type::tcp6,
                  .segment_bytes = static_cast<std::uint16_t>(100 + choice)};
    packet::segment(packet, pool, [&](packet::Packet* part) { pool.release(part); });
    return;
  }
  static fragments::FragmentIds ids(1);
  static std::array<packet::Packet*, fragments::kMaxPieces> pieces;
  const std::uint32_t mtu_bytes = (choice & 2) != 0 ? 1280 : 68;
  if (fragments::fits(packet, mtu_bytes) != fragments::Fit::fragment) return;
  const std::size_t count = fragments::fragment(packet, mtu_bytes, ids, pool, pieces);
  for (std::size_t i = 0; i < count; ++i) pool.release(pieces[i]);
}

}  // namespace
}  // namespace weir::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  if (size < 2) return 0;
  static packet::Pool pool(512, 4);
  packet::Packet* const packet = pool.take(static_cast<std::uint32_t>(size - 1));
  if (packet == nullptr) return 0;
  packet->length = static_cast<std::uint32_t>(size - 1);
  std::copy(data + 1, data + size, packet->frame());
  if (pipeline::check_headers(*packet) == pipeline::HeaderVerdict::ok) {
    test::check_offsets(*packet);
    conntrack::extract(*packet, (data[0] & 4) != 0);
    rules::inner_offset(*packet);
    if (!packet->is_later_fragment) {
      packet::verify_checksum(*packet);
      test::walk_tcp_options(*packet);
      test::cut(*packet, data[0], pool);
    }
  }
  pool.release(packet);
  test::require(pool.small_free() == 512 && pool.large_free() == 4, "every buffer has come back");
  return 0;
}
