#include "rules/expr/ct_read.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "conntrack/tracker.h"
#include "helpers/list.h"

namespace weir::rules {
namespace {

using conntrack::Connection;
using conntrack::Direction;
using conntrack::Traffic;

Traffic traffic(const Connection& connection, const CtQuestion& question) {
  if (question.direction) return connection.traffic(static_cast<Direction>(*question.direction));
  const Traffic original = connection.traffic(Direction::original);
  const Traffic reply = connection.traffic(Direction::reply);
  return {.packets = original.packets + reply.packets, .bytes = original.bytes + reply.bytes};
}

std::uint32_t milliseconds_left(const Connection& connection, Time now) {
  const Duration left = connection.deadline() - now;
  if (!connection.is_confirmed()) {
    // Until then the timeout itself stands there, counted from the clock's zero.
    return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                          connection.deadline().time_since_epoch())
                                          .count());
  }
  if (left <= Duration::zero()) return 0;
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
}

/// Keys that belong to one direction's tuple.
bool read_tuple(const conntrack::Tuple& tuple, std::uint32_t key, Registers& registers,
                RegisterIndex destination) {
  const auto store = [&](const wire::Address& address, wire::Family family) {
    if (tuple.family != family) return false;
    registers.set(destination, address.view(family));
    return true;
  };
  switch (key) {
    case NFT_CT_SRC:
      return store(tuple.src, tuple.family);
    case NFT_CT_DST:
      return store(tuple.dst, tuple.family);
    case NFT_CT_SRC_IP:
      return store(tuple.src, wire::Family::ip);
    case NFT_CT_DST_IP:
      return store(tuple.dst, wire::Family::ip);
    case NFT_CT_SRC_IP6:
      return store(tuple.src, wire::Family::ip6);
    case NFT_CT_DST_IP6:
      return store(tuple.dst, wire::Family::ip6);
    case NFT_CT_PROTO_SRC:
      return registers.set_u16(destination, tuple.src_port.raw), true;
    case NFT_CT_PROTO_DST:
      return registers.set_u16(destination, tuple.dst_port.raw), true;
    default:
      return false;
  }
}

/// The name of the helper that expected the connection, as nft_ct_get_eval gives it: its master's.
bool read_helper(const Connection& connection, conntrack::Tracker& tracker, Registers& registers,
                 RegisterIndex destination) {
  const conntrack::Extension* const extension = tracker.extension(connection.number());
  if (extension == nullptr) return false;
  const std::string_view name = helpers::name_of(extension->master_helper);
  if (name.empty()) return false;
  std::array<std::uint8_t, 16> padded{};
  std::copy_n(name.begin(), std::min(name.size(), padded.size() - 1), padded.begin());
  registers.set(destination, padded);
  return true;
}

}  // namespace

bool CtQuestion::shows_direction() const {
  return direction.has_value() && key != NFT_CT_L3PROTOCOL && key != NFT_CT_PROTOCOL;
}

std::size_t ct_bytes(std::uint32_t key, Family table_family) {
  switch (key) {
    case NFT_CT_DIRECTION:
    case NFT_CT_L3PROTOCOL:
    case NFT_CT_PROTOCOL:
      return 1;
    case NFT_CT_PROTO_SRC:
    case NFT_CT_PROTO_DST:
    case NFT_CT_ZONE:
      return 2;
    case NFT_CT_STATE:
    case NFT_CT_STATUS:
    case NFT_CT_MARK:
    case NFT_CT_EXPIRATION:
    case NFT_CT_SRC_IP:
    case NFT_CT_DST_IP:
    case NFT_CT_ID:
      return 4;
    case NFT_CT_BYTES:
    case NFT_CT_PKTS:
    case NFT_CT_AVGPKT:
      return 8;
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
    case NFT_CT_HELPER:
      return 16;
    case NFT_CT_SRC:
    case NFT_CT_DST:
      if (table_family == Family::ip) return 4;
      return table_family == Family::ip6 || table_family == Family::inet ? 16 : 0;
    default:
      return 0;
  }
}

DirectionUse direction_use(std::uint32_t key) {
  switch (key) {
    case NFT_CT_SRC:
    case NFT_CT_DST:
    case NFT_CT_SRC_IP:
    case NFT_CT_DST_IP:
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
    case NFT_CT_PROTO_SRC:
    case NFT_CT_PROTO_DST:
      return DirectionUse::always;
    case NFT_CT_BYTES:
    case NFT_CT_PKTS:
    case NFT_CT_AVGPKT:
    case NFT_CT_ZONE:
    case NFT_CT_L3PROTOCOL:
    case NFT_CT_PROTOCOL:
      return DirectionUse::optional;
    default:
      return DirectionUse::never;
  }
}

bool read_ct(const CtQuestion& question, const Context& context, Registers& registers,
             RegisterIndex destination) {
  const packet::CtRef& ct = context.packet->ct;
  if (question.key == NFT_CT_STATE) {
    registers.set_u32(destination, ct_state_bit(ct));
    return true;
  }
  conntrack::Table* const table = context.services->conntrack;
  if (ct.entry == 0 || table == nullptr) return false;
  const Connection connection = table->tracker(context.worker).entry(ct.entry);
  const conntrack::Tuple& original = connection.original();

  switch (question.key) {
    case NFT_CT_DIRECTION:
      registers.set_u8(destination, ct.is_reply());
      return true;
    case NFT_CT_STATUS:
      registers.set_u32(destination, connection.status() & conntrack::status::kShown);
      return true;
    case NFT_CT_MARK:
      registers.set_u32(destination, connection.mark());
      return true;
    case NFT_CT_EXPIRATION:
      registers.set_u32(destination, milliseconds_left(connection, context.now));
      return true;
    case NFT_CT_ID: {
      // In the order of CTA_ID, which is what nft shows and compares.
      const std::uint32_t id = table->id_of(connection.number(), connection.generation());
      registers.set_u32(destination, Be32::from_host(id).raw);
      return true;
    }
    case NFT_CT_BYTES:
      registers.set_u64(destination, traffic(connection, question).bytes);
      return true;
    case NFT_CT_PKTS:
      registers.set_u64(destination, traffic(connection, question).packets);
      return true;
    case NFT_CT_AVGPKT: {
      const Traffic seen = traffic(connection, question);
      registers.set_u64(destination, seen.packets == 0 ? 0 : seen.bytes / seen.packets);
      return true;
    }
    case NFT_CT_L3PROTOCOL:
      registers.set_u8(destination, static_cast<std::uint8_t>(original.family));
      return true;
    case NFT_CT_PROTOCOL:
      registers.set_u8(destination, original.protocol);
      return true;
    case NFT_CT_HELPER:
      return read_helper(connection, table->tracker(context.worker), registers, destination);
    case NFT_CT_ZONE: {
      const auto direction = static_cast<Direction>(question.direction.value_or(0));
      registers.set_u16(destination, connection.tuple(direction).zone);
      return true;
    }
    default:
      return question.direction &&
             read_tuple(connection.tuple(static_cast<Direction>(*question.direction)), question.key,
                        registers, destination);
  }
}

}  // namespace weir::rules
