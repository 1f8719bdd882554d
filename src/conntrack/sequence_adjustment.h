#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::conntrack {

/// What rewrites of the payload have done to the sequence numbers of one direction of a TCP
/// connection (the kernel's struct nf_ct_seqadj, but for several rewrites whose data may still be
/// sent again). "Sent" numbers are the sender's own, "seen" ones are what its peer gets to see.
/// Plain data in an Extension, guarded by the entry's lock.
///
/// A correction says: text that began at `begin` and was `length` bytes long has become longer by
/// `change`. Numbers from its end on are shifted by it, numbers up to its begin are not;
/// corrections are in the order of their places. What has become too old to be kept is in `base`.
class alignas(8) SequenceAdjustment {
 public:
  /// How many rewrites can be outstanding, i.e. their data sent again, with exact numbers.
  static constexpr std::size_t kMost = 6;

  /// As ctnetlink carries it (CTA_SEQADJ_*), the last correction alone.
  struct Summary {
    std::uint32_t position = 0;
    std::int32_t before = 0;
    std::int32_t after = 0;
    bool operator==(const Summary&) const = default;
  };

  /// Notes that `length` bytes which the sender sent from `begin` on have become longer by `change`
  /// (shorter: negative). The same text sent again is noted once: then false.
  bool add(std::uint32_t begin, std::uint16_t length, std::int32_t change);

  /// The number that the peer gets to see for `sent`.
  std::uint32_t seen(std::uint32_t sent) const { return sent + offset_of(sent); }
  /// The sender's own number for what its peer acknowledges as `seen`. Inside rewritten text it is
  /// the text's begin: acknowledged are only whole texts.
  std::uint32_t sent(std::uint32_t seen) const;

  /// Whether text that began at `sent` has been rewritten, as far as is remembered.
  bool has_begin(std::uint32_t sent) const;

  bool is_sound() const { return count_ <= kMost; }
  bool is_nothing() const { return count_ == 0 && base_ == 0; }
  Summary summary() const;
  /// What ctnetlink sets: forgets everything else.
  void set(const Summary& summary);

 private:
  std::uint32_t offset_of(std::uint32_t sent) const;
  void forget_oldest();

  std::array<std::uint32_t, kMost> begin_{};
  std::array<std::int32_t, kMost> change_{};
  std::array<std::uint16_t, kMost> length_{};
  std::int32_t base_ = 0;
  std::uint32_t count_ = 0;
};
static_assert(sizeof(SequenceAdjustment) == 72);

}  // namespace weir::conntrack
