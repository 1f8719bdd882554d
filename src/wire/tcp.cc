#include "wire/tcp.h"

#include <algorithm>

namespace weir::wire {
namespace {

void read_sack(Bytes data, TcpOptions& found) {
  if (data.size() % 8 != 0) return;
  found.sack_count = static_cast<std::uint8_t>(std::min(data.size() / 8, found.sack.size()));
  for (std::size_t i = 0; i < found.sack_count; ++i) {
    found.sack[i] = {.left = load<Be32>(&data[i * 8]).host(),
                     .right = load<Be32>(&data[i * 8 + 4]).host()};
  }
}

}  // namespace

TcpOptions parse_tcp_options(Bytes options) {
  TcpOptions found;
  OptionWalk walk(options);
  while (walk.next()) {
    const Bytes data = walk.data();
    switch (walk.kind()) {
      case tcp_option::kMss:
        if (data.size() == 2) found.mss = load<Be16>(data.data()).host();
        break;
      case tcp_option::kWindowScale:
        if (data.size() == 1) found.window_scale = data[0];
        break;
      case tcp_option::kSackPermitted:
        if (data.empty()) found.has_sack_permitted = true;
        break;
      case tcp_option::kSack:
        read_sack(data, found);
        break;
      case tcp_option::kTimestamps:
        if (data.size() != 8) break;
        found.has_timestamps = true;
        found.timestamp = load<Be32>(data.data()).host();
        found.timestamp_echo = load<Be32>(&data[4]).host();
        break;
      default:
        break;
    }
  }
  return found;
}

}  // namespace weir::wire
