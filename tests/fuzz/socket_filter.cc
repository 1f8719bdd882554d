// A classic BPF program as a tool attaches it to its socket, and a datagram for it. The first byte
// of the input says how many instructions follow; the rest is the datagram.
#include "control/server/socket_filter.h"

#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  weir::Bytes input(data + 1, size - 1);
  const std::size_t count = std::min<std::size_t>(data[0], input.size() / sizeof(sock_filter));
  std::vector<sock_filter> program(count);
  if (count != 0) std::memcpy(program.data(), input.data(), count * sizeof(sock_filter));
  const auto filter = weir::control::SocketFilter::check(program);
  if (filter) filter->run(input.subspan(count * sizeof(sock_filter)));
  return 0;
}
