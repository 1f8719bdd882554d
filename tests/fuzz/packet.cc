// Packets in, by a gateway with rules of most kinds: nothing crashes, every buffer comes back, and
// in the end the table is empty. A record (records.h) is a frame: bit 0 of its control is the port,
// bits 1 and 2 how long the clock waits before, bit 3 whether the frame waits for the next one, so
// that they are in one batch.
#include <array>

#include "tests/fuzz/records.h"
#include "tests/fuzz/require.h"
#include "tests/memory/gateway.h"

namespace weir::test {
namespace {

constexpr const char* kRules = R"(
table inet filter {
  set talkers { type ipv4_addr . inet_service; flags dynamic,timeout; size 64; timeout 1m; }
  chain raw {
    type filter hook prerouting priority raw;
    udp dport 9 notrack
    fib saddr type local drop
  }
  chain mangle {
    type filter hook forward priority mangle;
    tcp flags syn tcp option maxseg size set rt mtu
    tcp option sack-permitted exists reset tcp option sack-permitted
    ip dscp set cs1
    ip6 hoplimit set 9
    exthdr frag exists counter
    udp dport 5 udp dport set 6
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related counter accept
    ct state invalid counter log prefix "invalid" drop
    tcp dport 7 reject with tcp reset
    udp dport 7 reject
    meta l4proto tcp add @talkers { ip saddr . tcp dport limit rate over 100/second } drop
    ct status dnat accept
    meta length 40-65535 limit rate 100/second burst 1000 packets accept
    iifname "lan0" accept
  }
}
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 203.0.113.1 tcp dport 8080 dnat to 192.168.77.10:80
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" masquerade
  }
}
table ip6 nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" snat to 2001:db8:113::8-2001:db8:113::f random
  }
}
)";

constexpr std::array<Duration, 4> kWaits = {Duration{}, std::chrono::milliseconds(1),
                                            std::chrono::seconds(2), std::chrono::seconds(130)};

MemoryGateway& gateway() {
  static const auto gateway = [] {
    auto made = MemoryGateway::create(
        {.conntrack_max = 64, .small_buffers = 256, .large_buffers = 8, .wan_mtu = 1280});
    require(made.has_value(), "there is a gateway");
    const auto loaded = (*made)->load_rules(kRules);
    if (!loaded) std::fprintf(stderr, "%s\n", loaded.error().text.c_str());
    require(loaded.has_value(), "the rules are loaded");
    (*made)->open();
    return std::move(*made);
  }();
  return *gateway;
}

void let_go(MemoryGateway& gateway) {
  gateway.turn();
  for (const Side side : {Side::lan, Side::wan}) {
    while (!gateway.take(side).empty()) {
    }
  }
}

}  // namespace
}  // namespace weir::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir::test;
  MemoryGateway& one = gateway();
  weir::packet::Pool& pool = one.engine().worker(0).pool();
  static const std::size_t small = pool.small_free(), large = pool.large_free();

  weir::Bytes input(data, size);
  while (const auto record = take_record(input)) {
    one.advance(kWaits[record->control >> 1 & 3]);
    if (record->bytes.empty()) continue;
    one.put(static_cast<Side>(record->control & 1), record->bytes);
    if ((record->control & 8) == 0) let_go(one);
  }
  let_go(one);
  one.forget();
  require(pool.small_free() == small && pool.large_free() == large, "every buffer has come back");
  require(one.connections().empty(), "connections end");
  require(one.engine().conntrack().count() == 0, "ended connections are gone");
  return 0;
}
