#include "pipeline/log_invalid.h"

#include <fmt/format.h>

#include <array>

#include "conntrack/proto/step.h"
#include "rules/expr/log_text.h"
#include "rules/log_sink.h"

namespace weir::pipeline {
namespace {

constexpr std::uint32_t kAllProtocols = 255;
constexpr int kWarning = 4;  // The kernel's level.
constexpr std::size_t kPrefixMax = 160;

}  // namespace

void log_invalid(const rules::Context& context, const conntrack::Sysctl& sysctl) {
  const std::uint32_t which = sysctl.log_invalid.get();
  const packet::Packet& packet = *context.packet;
  if (which == 0 || packet.ct.reason == 0 || context.services->log == nullptr) return;
  if (which != kAllProtocols && which != packet.l4_protocol) return;

  std::array<char, kPrefixMax> prefix;
  const auto written =
      fmt::format_to_n(prefix.data(), prefix.size(), "nf_ct_proto_{}: {} ", packet.l4_protocol,
                       conntrack::kReasonTexts[packet.ct.reason]);
  const std::size_t length = std::min(written.size, prefix.size());
  std::array<char, rules::kLogLineMax> line;
  context.services->log->log(
      kWarning, rules::log_line(context, std::string_view(prefix.data(), length), 0, line));
}

}  // namespace weir::pipeline
