#include "io/live_frames.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "io/virtio.h"

namespace weir::io {
namespace {

constexpr std::uint64_t kSlotMask = WEIR_LIVE_SLOTS - 1;
constexpr std::uint64_t kRunAt = 256;  // Frames a call from which on more make it little cheaper.
// Frames that go before the receiving end gets a turn on this processor: a veth's ring holds 256.
constexpr std::uint32_t kBatch = 64;
constexpr std::uint64_t kWorthACall = 8;     // Frames.
constexpr std::uint32_t kMaxMetadata = 252;  // XDP's limit; 32 before Linux 6.6.
constexpr int kRuns = 4;                     // A signal may end a run early.

std::size_t whole_pages(std::size_t bytes) { return (bytes + 4095) & ~std::size_t{4095}; }

}  // namespace

Result<LiveFrames> LiveFrames::make(const Options& options) {
  if (options.worker * WEIR_LIVE_META_BYTES > kMaxMetadata)
    return std::unexpected(Error{EINVAL, "live frames: at most 64 workers"});
  LiveFrames made(options);
  auto slots = FdMapping::map(
      options.slots, 0, whole_pages(options.workers * WEIR_LIVE_SLOTS * sizeof(weir_live_slot)),
      "mapping the slots of live frames");
  if (!slots) return std::unexpected(slots.error());
  auto control =
      FdMapping::map(options.control, 0, whole_pages(options.workers * sizeof(weir_live_control)),
                     "mapping the counts of live frames");
  if (!control) return std::unexpected(control.error());
  made.slot_memory_ = std::move(*slots);
  made.control_memory_ = std::move(*control);
  made.slots_ = reinterpret_cast<weir_live_slot*>(made.slot_memory_.data()) +
                options.worker * WEIR_LIVE_SLOTS;
  made.control_ =
      reinterpret_cast<weir_live_control*>(made.control_memory_.data()) + options.worker;
  made.put_ = made.taken();
  return made;
}

std::uint64_t LiveFrames::taken() const {
  static_assert(sizeof(control_->taken) == sizeof(std::uint64_t));
  return std::atomic_ref(control_->taken).load(std::memory_order_acquire);
}

bool LiveFrames::put(Bytes frame) {
  if (frame.size() > kMaxFrameBytes) return false;
  weir_live_slot& slot = slots_[put_ & kSlotMask];
  slot.length = static_cast<std::uint32_t>(frame.size());
  std::memcpy(slot.frame, frame.data(), frame.size());
  ++put_;
  return waiting() < kRunAt || kick() == 0;
}

std::size_t LiveFrames::kick() {
  if (waiting() == 0) return 0;
  if (waiting() < kWorthACall) send_few();
  if (waiting() == 0) return 0;
  std::atomic_ref(control_->put).store(put_, std::memory_order_release);
  for (int i = 0; i < kRuns && waiting() > 0; ++i)
    run(static_cast<std::uint32_t>(waiting()), slots_[taken() & kSlotMask].length);
  const std::size_t unsent = waiting();
  put_ -= unsent;
  return unsent;
}

/// In their order, as far as the socket takes them. `taken` is the program's to count, which
/// doesn't run now.
void LiveFrames::send_few() {
  static constexpr VirtioHeader kWhole{};
  const auto count = static_cast<std::uint32_t>(waiting());
  mmsghdr messages[kWorthACall] = {};
  iovec parts[kWorthACall][2];
  for (std::uint32_t i = 0; i < count; ++i) {
    weir_live_slot& slot = slots_[(taken() + i) & kSlotMask];
    parts[i][0] = {const_cast<VirtioHeader*>(&kWhole), sizeof kWhole};
    parts[i][1] = {slot.frame, slot.length};
    messages[i].msg_hdr.msg_iov = parts[i];
    messages[i].msg_hdr.msg_iovlen = 2;
  }
  const int sent = sendmmsg(options_.sender, messages, count, MSG_DONTWAIT);
  if (sent <= 0) return;
  std::atomic_ref(control_->taken)
      .store(taken() + static_cast<std::uint64_t>(sent), std::memory_order_release);
}

/// Frames begin with the length of the first, which spares most of them an adjustment, and with
/// metadata that says whose they are: the kernel restores both lengths for each run, but not bytes.
void LiveFrames::run(std::uint32_t count, std::uint32_t first_bytes) {
  constexpr std::uint32_t kShortest = 60;
  static constexpr std::uint8_t empty[kMaxMetadata + kMaxFrameBytes] = {};
  xdp_md context{};
  context.data = options_.worker * WEIR_LIVE_META_BYTES;
  context.data_end = context.data + std::max(first_bytes, kShortest);
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = empty, .data_size_in = context.data_end,
              .ctx_in = &context, .ctx_size_in = sizeof context, .repeat = static_cast<int>(count),
              .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = std::min(count, kBatch));
  bpf_prog_test_run_opts(options_.program, &options);
}

}  // namespace weir::io
