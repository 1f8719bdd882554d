#include "control/server/dump_run.h"

#include <utility>

namespace weir::control {
namespace {

/// libmnl's and libnfnetlink's programs read into 4096 bytes; the kernel's own limit is about this.
constexpr std::size_t kDatagramBytes = 3712;
constexpr int kStepsAtOnce = 4096;

}  // namespace

DumpRun::DumpRun(std::unique_ptr<Dump> dump, const netlink::Message& request, std::uint32_t port_id)
    : dump_(std::move(dump)),
      sequence_(request.sequence()),
      port_id_(port_id),
      generation_(dump_->generation()) {}

void DumpRun::step(netlink::Buffer& out) {
  const std::size_t before = out.size();
  netlink::Writer writer(out);
  const std::size_t room = before < kDatagramBytes ? kDatagramBytes - before
                                                   : std::size_t{netlink::Message::kHeaderBytes};
  const auto result = dump_->next(writer, room);
  if (!result) {
    out.resize(before);
    status_ = -result.error().code;
    is_told_ = true;
    return;
  }
  is_told_ = *result == Dump::Step::done;
  if (before && out.size() > kDatagramBytes) {
    carried_.assign(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    out.resize(before);
  }
}

void DumpRun::take_steps(netlink::Buffer& out) {
  for (int steps = 0; steps < kStepsAtOnce; ++steps) {
    if (is_told_ || !carried_.empty() || out.size() >= kDatagramBytes) return;
    step(out);
  }
}

bool DumpRun::has_generation_changed() {
  return std::exchange(generation_, dump_->generation()) != generation_;
}

/// As the kernel's nl_dump_check_consistent: the first message after a change says so.
void DumpRun::mark_messages(netlink::Buffer& out) {
  std::uint16_t flags = NLM_F_MULTI;
  if (has_generation_changed()) flags |= NLM_F_DUMP_INTR;
  for (std::size_t at = 0; at + netlink::Message::kHeaderBytes <= out.size();) {
    auto header = load<nlmsghdr>(out.data() + at);
    header.nlmsg_flags |= flags;
    store(out.data() + at, header);
    at += netlink::align(header.nlmsg_len);
    flags = NLM_F_MULTI;
  }
}

DumpRun::Progress DumpRun::produce(netlink::Buffer& out) {
  out.clear();
  out.swap(carried_);
  take_steps(out);
  if (!out.empty()) {
    mark_messages(out);
    return Progress::datagram;
  }
  if (!is_told_) return Progress::nothing;
  const std::uint16_t flags = has_generation_changed() ? NLM_F_DUMP_INTR : 0;
  netlink::append_done(out, sequence_, status_, flags, port_id_);
  return Progress::finished;
}

}  // namespace weir::control
