#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "fragments/fragmenter.h"
#include "fragments/reassembly.h"
#include "wire/build.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

// What the kernel (6.18) did with the same pieces, through connection tracking's defragmentation
// and a forward, is what these tests expect.

namespace weir::fragments {
namespace {

using packet::Drop;
using packet::Packet;
using wire::ByteVector;
using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);
constexpr HashKey kKey = {1, 2};

/// One piece to be cut from a datagram.
struct Cut {
  std::uint32_t offset;
  std::uint32_t bytes;
  bool has_df = false;
  bool says_more = false;  // Also when it is the end.
};

class Fragments : public testing::Test {
 protected:
  packet::Pool pool{2000, 40};
  Reassembly reassembly{Limits{}, kKey};
  FragmentIds ids{7};
  Drop why = Drop::none;

  /// A packet of these bytes with the header check's fields as far as fragments/ needs them.
  Packet* packet_of(const ByteVector& frame) {
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::memcpy(packet->frame(), frame.data(), frame.size());
    packet->l3_offset = 14;
    packet->ip_length = packet->length - 14;
    packet->in_port = 3;
    const bool is_ip = (frame[14] >> 4) == 4;
    packet->family = is_ip ? wire::Family::ip : wire::Family::ip6;
    if (is_ip) {
      const auto& ip = wire::at<wire::Ipv4>(&frame[14]);
      packet->l4_protocol = ip.protocol();
      packet->l4_offset = static_cast<std::uint16_t>(14 + ip.header_bytes());
      packet->is_fragment = ip.is_fragment();
    } else {
      const wire::Ipv6Chain chain = wire::walk_chain(packet->l3());
      packet->l4_protocol = chain.protocol;
      packet->l4_offset = static_cast<std::uint16_t>(14 + chain.transport_offset);
      packet->is_fragment = chain.has_fragment_header;
    }
    return packet;
  }

  /// A piece of an IPv4 frame without options.
  static ByteVector cut_ip(const ByteVector& whole, const Cut& cut) {
    ByteVector piece(whole.begin(), whole.begin() + 34);
    const auto from = whole.begin() + 34 + cut.offset;
    const bool is_end = 34 + cut.offset + cut.bytes >= whole.size();
    piece.insert(piece.end(), from, is_end ? whole.end() : from + cut.bytes);
    auto& ip = wire::at<wire::Ipv4>(&piece[14]);
    ip.set_total_bytes(static_cast<std::uint16_t>(piece.size() - 14));
    ip.set_fragment_field(static_cast<std::uint16_t>(
        cut.offset / 8 | (is_end && !cut.says_more ? 0 : wire::Ipv4::kMoreFragments) |
        (cut.has_df ? wire::Ipv4::kDontFragment : 0)));
    ip.fill_checksum();
    return piece;
  }

  /// A piece of an IPv6 frame whose first `headers` bytes can't be cut; the byte at `named_at`
  /// names the rest.
  static ByteVector cut_ip6(const ByteVector& whole, const Cut& cut, std::size_t headers = 54,
                            std::size_t named_at = 20) {
    ByteVector piece(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(headers));
    piece.resize(headers + 8);
    const std::uint8_t named = piece[named_at];
    piece[named_at] = 44;
    const auto from = whole.begin() + static_cast<std::ptrdiff_t>(headers + cut.offset);
    const bool is_end = headers + cut.offset + cut.bytes >= whole.size();
    piece.insert(piece.end(), from, is_end ? whole.end() : from + cut.bytes);
    auto& fragment = wire::at<wire::Ipv6Fragment>(&piece[headers]);
    fragment.set_next_header(named);
    fragment.set_field(cut.offset, !is_end || cut.says_more);
    fragment.set_id(Be32::from_host(99));
    wire::at<wire::Ipv6>(&piece[14])
        .set_payload_bytes(static_cast<std::uint16_t>(piece.size() - 54));
    return piece;
  }

  Packet* gather(const ByteVector& frame, Time now = kStart) {
    return reassembly.gather(packet_of(frame), 0, now, pool, why);
  }
  Packet* gather_ip(const ByteVector& whole, const std::vector<Cut>& cuts) {
    Packet* last = nullptr;
    for (const Cut& cut : cuts) {
      if (last != nullptr) pool.release(last);
      last = gather(cut_ip(whole, cut));
    }
    return last;
  }

  std::vector<Packet*> fragment_all(Packet& packet, std::uint32_t mtu) {
    std::array<Packet*, kMaxPieces> out;
    const std::size_t count = fragment(packet, mtu, ids, pool, out);
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  static ByteVector bytes_of(const Packet& packet) {
    return {packet.frame(), packet.frame() + packet.length};
  }
  static std::vector<std::uint32_t> lengths(const std::vector<Packet*>& packets) {
    std::vector<std::uint32_t> result;
    for (const Packet* packet : packets) result.push_back(packet->ip_length);
    return result;
  }
  static const wire::Ipv4& ip(const Packet& packet) {
    return wire::at<wire::Ipv4>(packet.l3().data());
  }
};

const ByteVector kWhole =
    wire::build_frame({.payload = wire::pattern(1492)});  // 1500 bytes of UDP.
const ByteVector kWhole6 =
    wire::build_frame({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(1492)});
const std::vector<Cut> kThree = {{0, 496}, {496, 800}, {1296, 204}};

TEST_F(Fragments, ThreePiecesInAnyOrderAreTheDatagramAndGoOutAsTheyCame) {
  std::vector<std::size_t> order = {0, 1, 2};
  do {
    Packet* whole = gather_ip(kWhole, {kThree[order[0]], kThree[order[1]], kThree[order[2]]});
    ASSERT_NE(whole, nullptr);
    EXPECT_EQ(bytes_of(*whole), kWhole);
    EXPECT_FALSE(whole->is_fragment);
    EXPECT_EQ(whole->in_port, 3);
    EXPECT_EQ(whole->fragment_count, 3);
    EXPECT_EQ(whole->fragment_max_bytes, 820);
    EXPECT_FALSE(whole->fragment_had_df);

    EXPECT_EQ(fits(*whole, 1500), Fit::fragment);
    const auto pieces = fragment_all(*whole, 1500);
    EXPECT_THAT(lengths(pieces), testing::ElementsAre(516, 820, 224));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_EQ(bytes_of(*pieces[i]), cut_ip(kWhole, kThree[i]));
      EXPECT_EQ(pieces[i]->is_later_fragment, i != 0);
      pool.release(pieces[i]);
    }
    pool.release(whole);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(pool.small_free(), 2000U);
  EXPECT_EQ(reassembly.counters().memory_used_bytes, 0U);
}

TEST_F(Fragments, PiecesGoOutEvenWhenTheWholeWouldFit) {
  const ByteVector small = wire::build_frame({.payload = wire::pattern(92)});
  Packet* whole = gather_ip(small, {{0, 48}, {48, 52}});
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(fits(*whole, 1500), Fit::fragment);
  EXPECT_THAT(lengths(fragment_all(*whole, 1500)), testing::ElementsAre(68, 72));
}

TEST_F(Fragments, DfOfTheLargestPieceIsTheDatagrams) {
  Packet* whole = gather_ip(kWhole, {{0, 496}, {496, 800, true}, {1296, 204}});
  ASSERT_NE(whole, nullptr);
  EXPECT_TRUE(whole->fragment_had_df);
  EXPECT_TRUE(ip(*whole).has_df());
  EXPECT_EQ(fits(*whole, 1500), Fit::fragment);
  EXPECT_EQ(fits(*whole, 800), Fit::too_big);
  // As received they lose DF, cut anew they keep it.
  EXPECT_FALSE(ip(*fragment_all(*whole, 1500)[0]).has_df());
  EXPECT_TRUE(ip(*fragment_all(*whole, 600)[0]).has_df());
}

TEST_F(Fragments, DfOfASmallerPieceIsForgotten) {
  Packet* whole = gather_ip(kWhole, {{0, 496, true}, {496, 800}, {1296, 204}});
  ASSERT_NE(whole, nullptr);
  EXPECT_FALSE(ip(*whole).has_df());
  EXPECT_EQ(fits(*whole, 800), Fit::fragment);
}

TEST_F(Fragments, PiecesAboveTheMtuAreCutAnew) {
  Packet* whole = gather_ip(kWhole, {{0, 1280}, {1280, 220}});
  ASSERT_NE(whole, nullptr);
  EXPECT_THAT(lengths(fragment_all(*whole, 1280)), testing::ElementsAre(1276, 264));
}

TEST_F(Fragments, InsideARunIsADuplicateAndIgnored) {
  Packet* whole = gather_ip(kWhole, {{0, 496}, {496, 800}, {8, 600}, {1296, 204}});
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(bytes_of(*whole), kWhole);
  EXPECT_EQ(whole->fragment_count, 3);
}

TEST_F(Fragments, AcrossTwoRunsIsAnOverlap) {
  // 800 came before 0, so they are two runs although they touch.
  EXPECT_EQ(gather_ip(kWhole, {{800, 496}, {0, 800}, {792, 16}}), nullptr);
  EXPECT_EQ(why, Drop::fragment_overlap);
  EXPECT_EQ(reassembly.counters().failed, 1U);
}

TEST_F(Fragments, OverlapGivesUpTheWholeDatagram) {
  EXPECT_EQ(gather_ip(kWhole, {{0, 496}, {488, 808}}), nullptr);
  EXPECT_EQ(why, Drop::fragment_overlap);
  EXPECT_EQ(reassembly.counters().memory_used_bytes, 0U);
  // What follows begins anew and never gets complete.
  EXPECT_EQ(gather_ip(kWhole, {{1296, 204}, {496, 800}}), nullptr);
  EXPECT_EQ(why, Drop::none);
}

TEST_F(Fragments, PieceBeyondTheEndIsMalformed) {
  EXPECT_EQ(gather_ip(kWhole, {{0, 496}, {1296, 204}, {1296, 204, false, true}}), nullptr);
  // 1296 + 204 is cut to 200 since more follows, which is before the end: a duplicate.
  EXPECT_EQ(why, Drop::none);
  const ByteVector longer = wire::build_frame({.payload = wire::pattern(2000)});
  EXPECT_EQ(gather_ip(longer, {{1496, 400}}), nullptr);
  EXPECT_EQ(why, Drop::fragment_malformed);
  EXPECT_EQ(reassembly.counters().memory_used_bytes, 0U);
}

TEST_F(Fragments, UnevenMiddlePieceIsTrimmed) {
  Packet* whole = gather_ip(kWhole, {{0, 500}, {496, 800}, {1296, 204}});
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(bytes_of(*whole), kWhole);
}

TEST_F(Fragments, NoDatagramGrowsBeyond65535) {
  ByteVector piece = cut_ip(kWhole, {0, 1480});
  wire::at<wire::Ipv4>(&piece[14]).set_fragment_field(0x1fff);  // The ping of death.
  EXPECT_EQ(gather(piece), nullptr);
  EXPECT_EQ(why, Drop::fragment_malformed);
}

TEST_F(Fragments, EcnOfThePieces) {
  struct Case {
    std::uint8_t first, second;
    int expected;  // -1: dropped.
  };
  // RFC 3168 section 5.3.
  for (const Case& c : {Case{0, 0, 0}, Case{2, 3, 3}, Case{3, 1, 3}, Case{2, 1, 2}, Case{1, 2, 1},
                        Case{0, 2, -1}, Case{3, 0, -1}}) {
    ByteVector first = cut_ip(kWhole, {0, 496});
    ByteVector second = cut_ip(kWhole, {496, 2000});
    wire::at<wire::Ipv4>(&first[14]).rewrite_tos(c.first);
    wire::at<wire::Ipv4>(&second[14]).rewrite_tos(c.second);
    gather(first);
    Packet* whole = gather(second);
    ASSERT_EQ(whole != nullptr, c.expected >= 0) << int{c.first} << int{c.second};
    if (whole == nullptr) continue;
    EXPECT_EQ(ip(*whole).tos(), c.expected);
    EXPECT_EQ(wire::finish(wire::sum(whole->l3().first(20))).raw, 0);
    pool.release(whole);
  }
}

TEST_F(Fragments, TimeIsUpAfter30SecondsAndTheFirstPieceIsGivenBack) {
  gather(cut_ip(kWhole, kThree[0]));
  std::array<Packet*, 8> firsts;
  EXPECT_EQ(reassembly.expire(kStart + 29s, pool, firsts).removed, 0U);
  const auto expired = reassembly.expire(kStart + 30s, pool, firsts);
  EXPECT_EQ(expired.removed, 1U);
  ASSERT_EQ(expired.first_count, 1U);
  EXPECT_EQ(bytes_of(*firsts[0]), cut_ip(kWhole, kThree[0]));
  EXPECT_TRUE(firsts[0]->is_fragment);
  EXPECT_EQ(reassembly.counters().timed_out, 1U);
}

TEST_F(Fragments, WithoutAFirstPieceNothingIsGivenBack) {
  gather(cut_ip(kWhole, kThree[1]));
  std::array<Packet*, 8> firsts;
  const auto expired = reassembly.expire(kStart + 31s, pool, firsts);
  EXPECT_EQ(expired.removed, 1U);
  EXPECT_EQ(expired.first_count, 0U);
}

TEST_F(Fragments, ExpiredIsAbsentBeforeItIsSwept) {
  gather(cut_ip(kWhole, kThree[0]));
  gather(cut_ip(kWhole, kThree[1]), kStart + 30s);
  EXPECT_EQ(gather(cut_ip(kWhole, kThree[2]), kStart + 30s), nullptr);
}

TEST_F(Fragments, UsersAndProtocolsDontMix) {
  gather(cut_ip(kWhole, kThree[0]));
  EXPECT_EQ(reassembly.gather(packet_of(cut_ip(kWhole, {496, 2000})), 1, kStart, pool, why),
            nullptr);
  ByteVector other = cut_ip(kWhole, {496, 2000});
  wire::at<wire::Ipv4>(&other[14]).set_protocol(6);
  EXPECT_EQ(gather(other), nullptr);
  EXPECT_NE(gather(cut_ip(kWhole, {496, 2000})), nullptr);
}

TEST_F(Fragments, FloodTakesBoundedMemoryAndDoesntStopTheNextDatagram) {
  Reassembly small(Limits{.memory_bytes = 64 << 10}, kKey);
  for (int i = 0; i < 5000; ++i) {
    const ByteVector frame =
        wire::build_frame({.ip_id = static_cast<std::uint16_t>(i), .payload = wire::pattern(1400)});
    small.gather(packet_of(cut_ip(frame, {0, 1000})), 0, kStart, pool, why);
    EXPECT_LE(small.counters().memory_used_bytes, std::size_t{64} << 10);
  }
  const ByteVector last = wire::build_frame({.ip_id = 9999, .payload = wire::pattern(1400)});
  small.gather(packet_of(cut_ip(last, {0, 1000})), 0, kStart, pool, why);
  EXPECT_NE(small.gather(packet_of(cut_ip(last, {1000, 1000})), 0, kStart, pool, why), nullptr);
}

TEST_F(Fragments, TooManyPiecesAreGivenUp) {
  const ByteVector big = wire::build_frame({.payload = wire::pattern(8 * 300)});
  for (std::uint32_t i = 0; i < packet::kMaxPieces; ++i) gather(cut_ip(big, {i * 8, 8}));
  EXPECT_EQ(why, Drop::none);
  EXPECT_EQ(gather(cut_ip(big, {packet::kMaxPieces * 8, 8})), nullptr);
  EXPECT_EQ(why, Drop::fragment_memory);
  EXPECT_EQ(reassembly.counters().memory_used_bytes, 0U);
}

TEST_F(Fragments, OptionsWithoutTheCopyBitAreInTheFirstPieceOnly) {
  const ByteVector frame = wire::build_frame(
      {.ip_options = {7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0}, .payload = wire::pattern(1292)});
  Packet* whole = packet_of(frame);
  EXPECT_EQ(fits(*whole, 1000), Fit::fragment);
  const auto pieces = fragment_all(*whole, 1000);
  ASSERT_EQ(pieces.size(), 2U);
  const auto options = [](const Packet& piece) {
    return ByteVector(piece.l3().begin() + 20, piece.l3().begin() + 32);
  };
  EXPECT_EQ(options(*pieces[0]), (ByteVector{7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0}));
  EXPECT_EQ(options(*pieces[1]), (ByteVector{1, 1, 1, 1, 1, 1, 1, 0x94, 4, 0, 0, 0}));
}

TEST_F(Fragments, WholePacketsByDfAndSize) {
  EXPECT_EQ(fits(*packet_of(kWhole), 1520), Fit::whole);
  EXPECT_EQ(fits(*packet_of(kWhole), 1519), Fit::fragment);
  const ByteVector df = wire::build_frame({.has_df = true, .payload = wire::pattern(1492)});
  EXPECT_EQ(fits(*packet_of(df), 1519), Fit::too_big);
  EXPECT_EQ(fits(*packet_of(kWhole6), 1540), Fit::whole);
  EXPECT_EQ(fits(*packet_of(kWhole6), 1539), Fit::too_big);
}

TEST_F(Fragments, GsoIsJudgedByItsSegments) {
  Packet* big = packet_of(
      wire::build_frame({.protocol = 6, .has_df = true, .payload = wire::pattern(20000)}));
  big->gso = {.type = packet::Gso::Type::tcp4, .segment_bytes = 1460};
  EXPECT_EQ(fits(*big, 1500), Fit::whole);
  EXPECT_EQ(fits(*big, 1499), Fit::too_big);
}

TEST_F(Fragments, Ip6GoesThereAndBack) {
  gather(cut_ip6(kWhole6, kThree[2]));
  gather(cut_ip6(kWhole6, kThree[0]));
  Packet* whole = gather(cut_ip6(kWhole6, kThree[1]));
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(bytes_of(*whole), kWhole6);
  EXPECT_EQ(whole->l4_protocol, 17);
  EXPECT_EQ(whole->l4_offset, 54);
  EXPECT_EQ(whole->fragment_max_bytes, 848);
  EXPECT_EQ(fits(*whole, 1500), Fit::fragment);
  const auto pieces = fragment_all(*whole, 1500);
  EXPECT_THAT(lengths(pieces), testing::ElementsAre(544, 848, 252));
  Packet* again = nullptr;
  for (const Packet* piece : pieces) {
    EXPECT_EQ(piece->l4_offset, 62);
    again = gather(bytes_of(*piece));
  }
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(bytes_of(*again), kWhole6);
}

TEST_F(Fragments, Ip6PieceAboveTheMtuIsTooBig) {
  gather(cut_ip6(kWhole6, {0, 1280}));
  Packet* whole = gather(cut_ip6(kWhole6, {1280, 1000}));
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(fits(*whole, 1280), Fit::too_big);
}

TEST_F(Fragments, Ip6AtomicFragmentLosesItsHeader) {
  const ByteVector small =
      wire::build_frame({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(92)});
  Packet* whole = gather(cut_ip6(small, {0, 100}));
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(bytes_of(*whole), small);
  EXPECT_EQ(fits(*whole, 1500), Fit::whole);
}

TEST_F(Fragments, Ip6HopByHopStaysInFrontOfEveryPiece) {
  const ByteVector frame = wire::build_frame({.src = "2001:db8::1",
                                              .dst = "2001:db8::2",
                                              .ip_options = {17, 0, 5, 2, 0, 0, 1, 0},
                                              .first_header = 0,
                                              .payload = wire::pattern(1492)});
  Packet* whole = nullptr;
  for (const Cut& cut : kThree) whole = gather(cut_ip6(frame, cut, 62, 54));
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(bytes_of(*whole), frame);
  EXPECT_EQ(whole->l4_offset, 62);
  const auto pieces = fragment_all(*whole, 1500);
  EXPECT_THAT(lengths(pieces), testing::ElementsAre(552, 856, 260));
  EXPECT_EQ(pieces[1]->l3()[6], 0);
  EXPECT_EQ(pieces[1]->l3()[40], 44);
  EXPECT_EQ(pieces[1]->l3()[48], 17);
}

TEST_F(Fragments, Ip6UnevenPieceIsMalformed) {
  EXPECT_EQ(gather(cut_ip6(kWhole6, {0, 500})), nullptr);
  EXPECT_EQ(why, Drop::fragment_malformed);
}

TEST_F(Fragments, RandomSplitsInRandomOrderGiveTheSameBytes) {
  EXPECT_TRUE(rc::check([this] {
    const auto size = *rc::gen::inRange<std::size_t>(16, 9000);
    const bool is_ip = *rc::gen::arbitrary<bool>();
    const ByteVector whole =
        is_ip ? wire::build_frame({.payload = wire::pattern(size)})
              : wire::build_frame(
                    {.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(size)});
    std::vector<Cut> cuts;
    const auto total = static_cast<std::uint32_t>(size + 8);
    for (std::uint32_t at = 0; at < total;) {
      const auto bytes = 8 * *rc::gen::inRange<std::uint32_t>(5, 180);
      cuts.push_back({at, bytes});
      at += bytes;
    }
    if (cuts.size() < 2) cuts = {{0, 8}, {8, total}};
    const std::vector<Cut> in_order = cuts;
    for (std::size_t i = cuts.size(); i > 1; --i) {
      std::swap(cuts[i - 1], cuts[*rc::gen::inRange<std::size_t>(0, i)]);
    }
    Packet* result = nullptr;
    for (const Cut& cut : cuts) {
      RC_ASSERT(result == nullptr);
      result = gather(is_ip ? cut_ip(whole, cut) : cut_ip6(whole, cut));
    }
    RC_ASSERT(result != nullptr);
    RC_ASSERT(bytes_of(*result) == whole);
    const auto pieces = fragment_all(*result, 9000);
    RC_ASSERT(pieces.size() == in_order.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (is_ip) RC_ASSERT(bytes_of(*pieces[i]) == cut_ip(whole, in_order[i]));
      pool.release(pieces[i]);
    }
    pool.release(result);
    RC_ASSERT(pool.small_free() == 2000 && pool.large_free() == 40);
    RC_ASSERT(reassembly.counters().memory_used_bytes == 0);
  }));
}

TEST_F(Fragments, HostilePiecesKeepTheBooks) {
  EXPECT_TRUE(rc::check([this] {
    Reassembly small(Limits{.memory_bytes = 16 << 10}, kKey);
    Time now = kStart;
    for (int i = 0; i < 200; ++i) {
      ByteVector frame =
          wire::build_frame({.ip_id = *rc::gen::inRange<std::uint16_t>(0, 4),
                             .payload = wire::pattern(*rc::gen::inRange<std::size_t>(0, 600))});
      wire::at<wire::Ipv4>(&frame[14])
          .set_fragment_field(*rc::gen::inRange<std::uint16_t>(0, 60) |
                              *rc::gen::element<std::uint16_t>(0, 0x2000));
      Packet* packet = packet_of(frame);
      packet->is_fragment = true;
      Packet* whole = small.gather(packet, 0, now, pool, why);
      if (whole != nullptr) pool.release(whole);
      now += std::chrono::seconds(*rc::gen::inRange(0, 3));
    }
    std::array<Packet*, 64> firsts;
    const auto expired = small.expire(now + 31s, pool, firsts);
    for (std::size_t i = 0; i < expired.first_count; ++i) pool.release(firsts[i]);
    RC_ASSERT(small.counters().memory_used_bytes == 0);
    RC_ASSERT(pool.small_free() == 2000 && pool.large_free() == 40);
  }));
}

}  // namespace
}  // namespace weir::fragments
