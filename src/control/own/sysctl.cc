#include "control/own/sysctl.h"

#include <fmt/core.h>

#include <string>

#include "netlink/attributes.h"
#include "netlink/weir.h"

namespace weir::control {
namespace {

namespace own = netlink::own;

constexpr netlink::Rule kGetRules[] = {
    {.type = own::kSysctlName, .kind = netlink::Kind::string},
};

constexpr netlink::Rule kSetRules[] = {
    {.type = own::kSysctlName, .kind = netlink::Kind::string, .required = true},
    {.type = own::kSysctlValue, .kind = netlink::Kind::u32, .required = true},
};

void write(netlink::Writer& out, const netlink::Writer::Start& start, const SysctlValue& knob) {
  out.begin(start);
  out.put_string(own::kSysctlName, knob.name);
  out.put_be32(own::kSysctlValue, knob.value);
  out.end();
}

/// All knobs as they were at one moment, a message each.
class SysctlDump final : public Dump {
 public:
  SysctlDump(const Request& request, std::vector<SysctlValue> knobs)
      : start_(request.answer(own::kSysctl)), knobs_(std::move(knobs)) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    write(out, start_, knobs_[next_]);
    return ++next_ == knobs_.size() ? Step::done : Step::more;
  }

 private:
  netlink::Writer::Start start_;
  std::vector<SysctlValue> knobs_;
  std::size_t next_ = 0;
};

/// The Error, with the attribute to blame.
Error blame(const netlink::Attributes& attributes, const Error& error) {
  const std::uint16_t type = error.code == ENOENT ? own::kSysctlName : own::kSysctlValue;
  return attributes.error(type, error.code, error.text);
}

}  // namespace

Result<void> get_sysctls(const Request& request, const SysctlSource& source, Reply& reply) {
  if (request.is_dump()) {
    return reply.start_dump(std::make_unique<SysctlDump>(request, source.sysctls()));
  }
  const auto attributes = netlink::Attributes::parse(request.message.attributes(), kGetRules);
  if (!attributes) return std::unexpected(attributes.error());
  const auto knob = source.sysctl(attributes->string(own::kSysctlName));
  if (!knob) return std::unexpected(blame(*attributes, knob.error()));
  write(reply.writer(), request.answer(own::kSysctl), *knob);
  return {};
}

Result<void> set_sysctl(const Request& request, SysctlSource& source) {
  const auto attributes = netlink::Attributes::parse(request.message.attributes(), kSetRules);
  if (!attributes) return std::unexpected(attributes.error());
  const std::string value = fmt::format("{}", attributes->be32(own::kSysctlValue).host());
  const auto set = source.set_sysctl(attributes->string(own::kSysctlName), value);
  if (!set) return std::unexpected(blame(*attributes, set.error()));
  return {};
}

}  // namespace weir::control
