#include "rules/expr/nat_ports.h"

#include "rules/data.h"

namespace weir::rules {

Result<NatPorts> NatPorts::parse(const netlink::Attributes& attributes, std::uint16_t min_type,
                                 std::uint16_t max_type) {
  if (!attributes.has(min_type)) return NatPorts{};
  const auto min = parse_source(attributes.find(min_type), sizeof(Be16));
  if (!min) return std::unexpected(min.error());
  if (!attributes.has(max_type)) return NatPorts{.min = *min, .max = *min};
  const auto max = parse_source(attributes.find(max_type), sizeof(Be16));
  if (!max) return std::unexpected(max.error());
  return NatPorts{.min = *min, .max = *max};
}

void NatPorts::dump(netlink::Writer& writer, std::uint16_t min_type, std::uint16_t max_type) const {
  if (!are_given()) return;
  write_register(writer, min_type, min);
  write_register(writer, max_type, max);
}

void NatPorts::read(const Registers& registers, nat::Range& range) const {
  if (!are_given()) return;
  range.min_port = Be16{registers.u16(min)}.host();
  range.max_port = Be16{registers.u16(max)}.host();
}

}  // namespace weir::rules
