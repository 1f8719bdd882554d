#include "rules/hook.h"

namespace weir::rules {

std::string_view name_of(Family family) {
  switch (family) {
    case Family::unspec:
      return "unspec";
    case Family::inet:
      return "inet";
    case Family::ip:
      return "ip";
    case Family::arp:
      return "arp";
    case Family::netdev:
      return "netdev";
    case Family::bridge:
      return "bridge";
    case Family::ip6:
      return "ip6";
  }
  return "unknown";
}

std::string_view name_of(Hook hook) {
  switch (hook) {
    case Hook::prerouting:
      return "prerouting";
    case Hook::input:
      return "input";
    case Hook::forward:
      return "forward";
    case Hook::output:
      return "output";
    case Hook::postrouting:
      return "postrouting";
    case Hook::ingress:
      return "ingress";
  }
  return "unknown";
}

std::string_view name_of(ChainType type) {
  switch (type) {
    case ChainType::filter:
      return "filter";
    case ChainType::nat:
      return "nat";
    case ChainType::route:
      return "route";
  }
  return "unknown";
}

std::optional<ChainType> chain_type_named(std::string_view name) {
  for (const auto type : {ChainType::filter, ChainType::nat, ChainType::route}) {
    if (name == name_of(type)) return type;
  }
  return std::nullopt;
}

}  // namespace weir::rules
