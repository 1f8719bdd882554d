#include <algorithm>
#include <cstring>

#include "pipeline/icmp_error.h"
#include "wire/icmp.h"

// Two buckets in a row, as in the kernel (icmp_global_allow, inet_peer_xrlim_allow). The one for
// all takes 0, 1 or 2 tokens at random, one on average: with exactly one, a remote party could
// count how many errors a spoofed probe has caused and learn which ports are open (SAD DNS,
// CVE-2020-25705).

namespace weir::pipeline {
namespace {

constexpr int kDestinationBurst = 6;  // The kernel's XRLIM_BURST_FACTOR.
constexpr std::int64_t kSecond = 1'000'000'000;

}  // namespace

IcmpLimiter::IcmpLimiter(const IcmpLimits& limits, const HashKey& key)
    : limits_(limits), key_(key), random_(key.low ^ key.high), all_credit_(0) {}

bool IcmpLimiter::is_limited(wire::Family family, const IcmpError& error) const {
  if (family == wire::Family::ip6) return error.type != wire::icmpv6::kPacketTooBig;
  if (error.type == wire::icmp::kUnreachable && error.code == wire::icmp::kFragmentationNeeded) {
    return false;
  }
  return error.type < 32 && (limits_.ip_mask >> error.type & 1) != 0;
}

IcmpLimiter::Bucket& IcmpLimiter::bucket_of(const wire::Address& destination) {
  std::array<std::uint64_t, 2> words;
  std::memcpy(words.data(), destination.bytes.data(), sizeof words);
  return destinations_[siphash13(key_, words) % kDestinations];
}

std::uint32_t IcmpLimiter::next_random() {
  random_ += 0x9e3779b97f4a7c15;  // SplitMix64.
  std::uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<std::uint32_t>((z ^ (z >> 31)) >> 32);
}

void IcmpLimiter::refill_all(Time now) {
  const std::int64_t token = kSecond / std::max(limits_.messages_per_second, 1U);
  const std::int64_t full = token * limits_.burst;
  const std::int64_t elapsed =
      all_is_used_ ? std::max<std::int64_t>((now - all_last_).count(), 0) : full;
  all_credit_ = std::min(full, all_credit_ + std::min(elapsed, full));
  all_last_ = now;
  all_is_used_ = true;
}

bool IcmpLimiter::allow(wire::Family family, const IcmpError& error,
                        const wire::Address& destination, Time now) {
  if (!is_limited(family, error)) return true;
  if (limits_.messages_per_second == 0) return false;
  refill_all(now);
  const std::int64_t token = kSecond / limits_.messages_per_second;
  if (all_credit_ < token) return false;

  const Duration interval = family == wire::Family::ip ? limits_.ip_interval : limits_.ip6_interval;
  Bucket& bucket = bucket_of(destination);
  const Duration full = interval * kDestinationBurst;
  bucket.credit = bucket.is_used
                      ? std::min(full, bucket.credit + std::max(now - bucket.last, Duration{}))
                      : full;
  bucket.is_used = true;
  bucket.last = now;
  if (bucket.credit < interval) return false;
  bucket.credit -= interval;

  all_credit_ -=
      token * (next_random() % 3);  // May owe one, or the average would be less than one.
  return true;
}

}  // namespace weir::pipeline
