#include "netlink/attributes.h"

#include <algorithm>
#include <cerrno>
#include <string>

namespace weir::netlink {
namespace {

constexpr const char* kPolicyText = "Attribute failed policy validation";

std::uint32_t with_padding(std::size_t bytes) {
  return static_cast<std::uint32_t>((bytes + 3) & ~std::size_t{3});
}

std::size_t least_bytes(const Rule& rule) {
  switch (rule.kind) {
    case Kind::u8:
      return 1;
    case Kind::u16:
      return 2;
    case Kind::u32:
      return 4;
    case Kind::u64:
      return 8;
    default:
      return rule.min_bytes;
  }
}

std::uint64_t number(const Rule& rule, const Attribute& attribute) {
  switch (rule.kind) {
    case Kind::u8:
      return attribute.u8();
    case Kind::u16:
      return attribute.be16().host();
    case Kind::u32:
      return attribute.be32().host();
    case Kind::u64:
      return attribute.be64().host();
    default:
      return 0;
  }
}

/// Zero, or the errno that the kernel's validate_nla gives.
int check_string(const Rule& rule, Bytes payload) {
  if (rule.kind == Kind::nul_string) {
    const std::size_t searched =
        rule.max_bytes ? std::min<std::size_t>(payload.size(), rule.max_bytes + 1) : payload.size();
    const Bytes head = payload.first(searched);
    if (std::find(head.begin(), head.end(), 0) == head.end()) return EINVAL;
  }
  if (payload.empty()) return ERANGE;
  const std::size_t length = payload.back() == 0 ? payload.size() - 1 : payload.size();
  return rule.max_bytes && length > rule.max_bytes ? ERANGE : 0;
}

int check_payload(const Rule& rule, Bytes payload) {
  switch (rule.kind) {
    case Kind::flag:
      return payload.empty() ? 0 : ERANGE;
    case Kind::string:
    case Kind::nul_string:
      return check_string(rule, payload);
    case Kind::binary:
      return rule.max_bytes && payload.size() > rule.max_bytes ? ERANGE : 0;
    case Kind::nested:
      return payload.empty() || payload.size() >= Attribute::kHeaderBytes ? 0 : ERANGE;
    default:
      return payload.size() < least_bytes(rule) ? ERANGE : 0;
  }
}

Result<void> check(const Rule& rule, const Attribute& attribute) {
  if (const int code = check_payload(rule, attribute.payload())) {
    return std::unexpected(attribute.error(code, kPolicyText));
  }
  if (rule.max_value && number(rule, attribute) > rule.max_value) {
    return std::unexpected(attribute.error(ERANGE, "integer out of range"));
  }
  if (rule.mask && (number(rule, attribute) & ~rule.mask)) {
    return std::unexpected(attribute.error(EINVAL, "reserved bit set"));
  }
  return {};
}

const Rule* rule_for(std::span<const Rule> rules, std::uint16_t type) {
  const auto found = std::find_if(rules.begin(), rules.end(),
                                  [type](const Rule& rule) { return rule.type == type; });
  return found == rules.end() ? nullptr : &*found;
}

}  // namespace

void Region::Iterator::read() {
  attribute_ = {};
  if (rest_.size() < Attribute::kHeaderBytes) return;
  const auto header = load<nlattr>(rest_.data());
  if (header.nla_len < Attribute::kHeaderBytes || header.nla_len > rest_.size()) return;
  attribute_ = Attribute(
      header.nla_type,
      rest_.subspan(Attribute::kHeaderBytes, header.nla_len - Attribute::kHeaderBytes), offset_);
}

Region::Iterator& Region::Iterator::operator++() {
  const std::uint32_t step = with_padding(Attribute::kHeaderBytes + attribute_.payload().size());
  rest_ = rest_.subspan(std::min<std::size_t>(step, rest_.size()));
  offset_ += step;
  read();
  return *this;
}

std::string_view Attribute::string() const {
  const auto end = std::find(payload_.begin(), payload_.end(), 0);
  return {reinterpret_cast<const char*>(payload_.data()),
          static_cast<std::size_t>(end - payload_.begin())};
}

Error Attribute::error(int code, std::string_view text) const {
  return {.code = code, .text = std::string(text), .offset = offset_};
}

Result<Attributes> Attributes::parse(Region region, std::span<const Rule> rules) {
  Attributes attributes(region);
  for (const Attribute& attribute : region) {
    const Rule* rule = rule_for(rules, attribute.type());
    if (!rule || attribute.type() >= kMaxTypes) continue;
    if (auto checked = check(*rule, attribute); !checked) {
      return std::unexpected(std::move(checked).error());
    }
    attributes.offset_[attribute.type()] = attribute.offset() - region.offset();
  }
  for (const Rule& rule : rules) {
    if (rule.required && !attributes.has(rule.type)) {
      return std::unexpected(attributes.missing(rule.type));
    }
  }
  return attributes;
}

Attribute Attributes::find(std::uint16_t type) const {
  if (!has(type)) return {};
  const std::uint32_t at = offset_[type];
  return *Region(region_.bytes().subspan(at), region_.offset() + at).begin();
}

Error Attributes::missing(std::uint16_t type) const {
  // Attributes below an attribute begin right after its header; those of the message itself after
  // nlmsghdr and nfgenmsg, and then there is no nest to name.
  constexpr std::uint32_t kTopLevel = 20;
  const std::uint32_t nest =
      region_.offset() > kTopLevel ? region_.offset() - Attribute::kHeaderBytes : 0;
  return {.code = EINVAL,
          .text = "a required attribute is missing (type " + std::to_string(type) + ")",
          .offset = nest,
          .missing = type};
}

}  // namespace weir::netlink
