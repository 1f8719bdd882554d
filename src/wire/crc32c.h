#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"

namespace weir::wire {

/// The checksum that belongs into the SCTP packet that fills `l4` (RFC 9260 appendix A): CRC32c
/// over the whole packet, its own field taken as zero. Requires: a whole common header.
Be32 sctp_checksum(Bytes l4);

/// CRC32c (Castagnoli) of `bytes`, continued from `crc`, without the inversions at begin and end.
std::uint32_t crc32c(std::uint32_t crc, Bytes bytes);

}  // namespace weir::wire
