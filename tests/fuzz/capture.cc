// A capture file, pcap or pcapng of any link type, read as replay reads it and sent to another
// file.
#include "io/pcap_port.h"
#include "pipeline/header_check.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  static packet::Pool pool(256, 8);
  const test::TemporaryFile file(Bytes(data, size));
  const auto port = io::PcapPort::open({.read_path = file.path(), .write_path = "/dev/null"});
  if (!port) return 0;
  for (int i = 0; i < 100 && !(*port)->is_finished(); ++i) {
    packet::Batch batch;
    if ((*port)->receive(batch, pool) == 0) break;
    for (packet::Packet* packet : batch) pipeline::check_headers(*packet);
    (*port)->send({batch.begin(), batch.size()}, pool);
  }
  test::require(pool.small_free() == 256 && pool.large_free() == 8, "every buffer has come back");
  return 0;
}
