// Whether an entry is one of those that the options ask for.
#include "tools/conntrack/request.h"

namespace weir::tools::conntrack {
namespace {

template <typename T>
bool fits(const std::optional<T>& wanted, const std::optional<T>& is) {
  return !wanted || wanted == is;
}

bool fits(const std::optional<Address>& wanted, const std::optional<Address>& is,
          const std::optional<Address>& mask) {
  if (!wanted) return true;
  if (!is || is->family != wanted->family) return false;
  return mask ? is->masked(*mask) == wanted->masked(*mask) : *is == *wanted;
}

bool fits_numbers(const End& wanted, const End& is) {
  return fits(wanted.protocol, is.protocol) && fits(wanted.src_port, is.src_port) &&
         fits(wanted.dst_port, is.dst_port) && fits(wanted.icmp_type, is.icmp_type) &&
         fits(wanted.icmp_code, is.icmp_code) && fits(wanted.icmp_id, is.icmp_id) &&
         (!wanted.zone || *wanted.zone == is.zone.value_or(0));
}

/// `to` is what the reply tuple shows in the place of `before`.
bool is_translated(const NatTo& to, bool moved, bool moved_port,
                   const std::optional<Address>& address,
                   const std::optional<std::uint16_t>& port) {
  if (!to.address && !to.port) return moved || moved_port;
  if (to.address && !(moved && *to.address == address)) return false;
  return !to.port || (moved_port && *to.port == port);
}

bool fits_nat(const Request& request, const Flow& flow) {
  const bool any = request.with_any_nat;
  const auto source = [&](const NatTo& to) {
    return is_translated(to, flow.has_source_nat(), flow.has_source_port_nat(), flow.reply.dst,
                         flow.reply.dst_port);
  };
  const auto destination = [&](const NatTo& to) {
    return is_translated(to, flow.has_destination_nat(), flow.has_destination_port_nat(),
                         flow.reply.src, flow.reply.src_port);
  };
  if (any) return source(request.any_nat) || destination(request.any_nat);
  return (!request.with_source_nat || source(request.flow.source_nat)) &&
         (!request.with_destination_nat || destination(request.flow.destination_nat));
}

}  // namespace

bool matches(const Request& request, const Flow& flow) {
  const Flow& wanted = request.flow;
  if (request.family != 0 && flow.original.family && *flow.original.family != request.family)
    return false;
  if (!fits_nat(request, flow)) return false;
  // What -U sets isn't what it looks for.
  const bool looks_at_mark = request.mark && request.command != Command::update;
  if (looks_at_mark && (!flow.mark || (*flow.mark & request.mark->mask) != request.mark->value))
    return false;
  if (flow.status.value_or(0) & request.clear_status) return false;
  for (unsigned bit = 0; request.labels && bit < request.labels->size() * 8; ++bit) {
    if (has_label(*request.labels, bit) && !(flow.labels && has_label(*flow.labels, bit)))
      return false;
  }
  const bool status_fits = !wanted.status || !flow.status || request.command == Command::update ||
                           (*wanted.status & *flow.status) == *wanted.status;
  const bool timeout_fits =
      request.command != Command::remove || fits(wanted.timeout, flow.timeout);
  return status_fits && timeout_fits &&
         fits(wanted.original.src, flow.original.src, request.src_mask) &&
         fits(wanted.original.dst, flow.original.dst, request.dst_mask) &&
         fits(wanted.reply.src, flow.reply.src, std::nullopt) &&
         fits(wanted.reply.dst, flow.reply.dst, std::nullopt) &&
         fits_numbers(wanted.original, flow.original) && fits_numbers(wanted.reply, flow.reply) &&
         (request.command == Command::update ||
          (fits(wanted.tcp_state, flow.tcp_state) && fits(wanted.sctp_state, flow.sctp_state) &&
           fits(wanted.dccp_state, flow.dccp_state) && fits(wanted.secmark, flow.secmark))) &&
         fits(wanted.id, flow.id) && (!wanted.zone || *wanted.zone == flow.zone.value_or(0));
}

}  // namespace weir::tools::conntrack
