#pragma once

#include <cstdint>

namespace weir::conntrack {

/// Status bits of an entry: the kernel's IPS_* (<linux/netfilter/nf_conntrack_common.h>), as
/// ctnetlink carries them.
namespace status {
inline constexpr std::uint32_t kExpected = 1u << 0;
inline constexpr std::uint32_t kSeenReply = 1u << 1;
inline constexpr std::uint32_t kAssured = 1u << 2;
inline constexpr std::uint32_t kConfirmed = 1u << 3;
inline constexpr std::uint32_t kSrcNat = 1u << 4;
inline constexpr std::uint32_t kDstNat = 1u << 5;
inline constexpr std::uint32_t kNatMask = kSrcNat | kDstNat;
inline constexpr std::uint32_t kSeqAdjust = 1u << 6;
inline constexpr std::uint32_t kSrcNatDone = 1u << 7;
inline constexpr std::uint32_t kDstNatDone = 1u << 8;
inline constexpr std::uint32_t kNatDoneMask = kSrcNatDone | kDstNatDone;
inline constexpr std::uint32_t kDying = 1u << 9;
inline constexpr std::uint32_t kFixedTimeout = 1u << 10;
inline constexpr std::uint32_t kTemplate = 1u << 11;
inline constexpr std::uint32_t kNatClash = 1u << 12;
inline constexpr std::uint32_t kHelper = 1u << 13;
inline constexpr std::uint32_t kOffload = 1u << 14;
/// weir's own, never shown: packets of the connection must look into its extension (extension.h).
inline constexpr std::uint32_t kNeedsExtension = 1u << 31;
inline constexpr std::uint32_t kShown = (1u << 16) - 1;
}  // namespace status

/// Event bits: 1 << the kernel's enum ip_conntrack_events.
namespace event {
inline constexpr std::uint32_t kNew = 1u << 0;
inline constexpr std::uint32_t kRelated = 1u << 1;
inline constexpr std::uint32_t kDestroy = 1u << 2;
inline constexpr std::uint32_t kReply = 1u << 3;
inline constexpr std::uint32_t kAssured = 1u << 4;
inline constexpr std::uint32_t kProtoInfo = 1u << 5;
inline constexpr std::uint32_t kHelper = 1u << 6;
inline constexpr std::uint32_t kMark = 1u << 7;
inline constexpr std::uint32_t kSeqAdjust = 1u << 8;
inline constexpr std::uint32_t kSecMark = 1u << 9;
inline constexpr std::uint32_t kLabel = 1u << 10;
inline constexpr std::uint32_t kSynProxy = 1u << 11;
}  // namespace event

}  // namespace weir::conntrack
