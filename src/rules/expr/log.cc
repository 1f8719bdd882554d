#include "rules/expr/log.h"

#include <linux/netfilter/nf_log.h>
#include <linux/netfilter/nf_tables.h>

#include <array>
#include <cerrno>
#include <string>

#include "rules/expr/log_text.h"
#include "rules/log_sink.h"

namespace weir::rules {
namespace {

constexpr std::uint32_t kPrefixBytesMax = 127;  // NF_LOG_PREFIXLEN without its end.

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_LOG_GROUP, .kind = netlink::Kind::u16},
    {.type = NFTA_LOG_PREFIX, .kind = netlink::Kind::string, .max_bytes = kPrefixBytesMax},
    {.type = NFTA_LOG_SNAPLEN, .kind = netlink::Kind::u32},
    {.type = NFTA_LOG_QTHRESHOLD, .kind = netlink::Kind::u16},
    {.type = NFTA_LOG_LEVEL, .kind = netlink::Kind::u32},
    {.type = NFTA_LOG_FLAGS, .kind = netlink::Kind::u32},
};

/// Writes a line in the manner of the kernel's log (nf_log_syslog) to weir's. How fast is the
/// sink's affair.
class Log final : public Expression {
 public:
  Log(std::string prefix, bool has_prefix, std::uint32_t level, std::uint32_t flags)
      : prefix_(std::move(prefix)), has_prefix_(has_prefix), level_(level), flags_(flags) {}

  const ExpressionKind& kind() const override { return kLog; }

  void eval(Registers&, Context& context) const override {
    if (context.services->log == nullptr) return;
    std::array<char, kLogLineMax> line;
    context.services->log->log(static_cast<int>(level_), log_line(context, prefix_, flags_, line));
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    if (has_prefix_) writer.put_string(NFTA_LOG_PREFIX, prefix_);
    writer.put_be32(NFTA_LOG_LEVEL, level_);
    if (flags_ != 0) writer.put_be32(NFTA_LOG_FLAGS, flags_);
  }

 private:
  std::string prefix_;
  bool has_prefix_;
  std::uint32_t level_;
  std::uint32_t flags_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto refused = [&](std::uint16_t type, int code, const char* text) {
    return std::unexpected(attributes->error(type, code, text));
  };
  if (attributes->has(NFTA_LOG_GROUP)) {
    if (attributes->has(NFTA_LOG_LEVEL) || attributes->has(NFTA_LOG_FLAGS))
      return refused(NFTA_LOG_GROUP, EINVAL, "a group excludes level and flags");
    return refused(NFTA_LOG_GROUP, EOPNOTSUPP, "weir sends no packets to log groups (log group)");
  }
  std::uint32_t level = NFT_LOGLEVEL_WARNING;
  if (attributes->has(NFTA_LOG_LEVEL)) level = attributes->be32(NFTA_LOG_LEVEL).host();
  if (level > NFT_LOGLEVEL_AUDIT) return refused(NFTA_LOG_LEVEL, EINVAL, "unknown log level");
  if (level == NFT_LOGLEVEL_AUDIT)
    return refused(NFTA_LOG_LEVEL, EOPNOTSUPP, "weir has no audit log (log level audit)");
  const std::uint32_t flags = attributes->be32(NFTA_LOG_FLAGS).host();
  if ((flags & ~static_cast<std::uint32_t>(NF_LOG_MASK)) != 0)
    return refused(NFTA_LOG_FLAGS, EINVAL, "unknown log flags");
  return std::make_unique<Log>(std::string(attributes->string(NFTA_LOG_PREFIX)),
                               attributes->has(NFTA_LOG_PREFIX), level, flags);
}

}  // namespace

const ExpressionKind kLog = {.name = "log", .parse = parse};

}  // namespace weir::rules
