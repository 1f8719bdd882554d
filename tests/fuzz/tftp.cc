// Any bytes as TFTP requests through a masquerading gateway: at most one answer is expected for
// each, nothing crashes, and nothing is left expected.
#include "tests/fuzz/records.h"
#include "tests/fuzz/require.h"
#include "tests/memory/gateway.h"
#include "wire/build.h"

namespace weir::test {
namespace {

constexpr const char* kRules = R"(
table inet gateway {
  ct helper tftp { type "tftp" protocol udp; }
  chain helpers {
    type filter hook prerouting priority mangle;
    udp dport 69 ct helper set "tftp"
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "wan0" meta nfproto ipv4 masquerade
  }
}
)";

MemoryGateway& gateway() {
  static const auto gateway = [] {
    auto made = MemoryGateway::create(
        {.conntrack_max = 64, .small_buffers = 256, .large_buffers = 8, .wan_mtu = 1500});
    require(made.has_value(), "there is a gateway");
    const auto loaded = (*made)->load_rules(kRules);
    require(loaded.has_value(), "the rules are loaded");
    (*made)->open();
    return std::move(*made);
  }();
  return *gateway;
}

}  // namespace
}  // namespace weir::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::test;
  MemoryGateway& one = gateway();
  weir::Bytes input(data, size);
  while (const auto record = take_record(input)) {
    const weir::Bytes payload =
        record->bytes.first(std::min<std::size_t>(record->bytes.size(), 1400));
    one.put(Side::lan, weir::wire::build_frame(
                           {.src = "10.1.0.1",
                            .dst = "198.51.100.1",
                            .src_port = static_cast<std::uint16_t>(5000 + record->control % 4),
                            .dst_port = 69,
                            .payload = {payload.begin(), payload.end()}}));
    one.turn();
    require(!one.take(Side::wan).empty(), "the request goes out");
    require(one.engine().conntrack().expectations().count() <= 4, "one answer for each client");
  }
  one.forget();
  require(one.engine().conntrack().expectations().count() == 0, "nothing is left expected");
  return 0;
}
