#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "io/port.h"

struct pcap;
struct pcap_dumper;
struct pcap_pkthdr;

namespace weir::io {

/// A port made of capture files: receives what one holds (pcap or pcapng), writes what is sent to
/// another (pcap with nanoseconds). Reads Ethernet, Linux cooked (SLL, SLL2), raw IP and BSD
/// loopback captures; what has no Ethernet header gets one of zeros.
///
/// `arrived` of a packet is its time stamp, since 1970; sent packets are written with theirs. A
/// packet that the capture's snap length cut is filled up with zeros to its true length and marked:
/// Packet::is_cut, and its checksum counts as verified, since it can't be. Frames that other hosts'
/// captures show as sent to others or outgoing count as ours: a replay looks at all of them.
class PcapPort final : public Queue {
 public:
  enum class WriteLink : std::uint8_t { ethernet, raw };
  struct Options {
    std::string read_path;   // Empty: nothing to receive. "-" is standard input.
    std::string write_path;  // Empty: what is sent is only counted.
    WriteLink write_link =
        WriteLink::ethernet;  // raw: from the IP header on, without link and VLAN tags.
  };

  /// Errors: no such file, not a capture, an unknown link type, no permission to write.
  static Result<std::unique_ptr<PcapPort>> open(const Options& options);
  ~PcapPort() override;

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override;
  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override;
  bool is_finished() const override { return is_finished_; }

  /// Why reading ended, when it wasn't the end of the file: a capture that breaks off in the
  /// middle.
  const std::optional<Error>& read_error() const { return read_error_; }

  /// Writes out what is buffered. Errors: the disk is full.
  Result<void> flush();

 private:
  struct Closer {
    void operator()(pcap* handle) const;
    void operator()(pcap_dumper* dumper) const;
  };
  explicit PcapPort(WriteLink write_link) : write_link_(write_link) {}

  Result<void> open_reader(const std::string& path);
  Result<void> open_writer(const std::string& path);
  bool fetch();
  packet::Packet* take_fetched(packet::Pool& pool);
  void write(packet::Packet& packet);

  std::unique_ptr<pcap, Closer> reader_;
  int link_type_ = 0;
  const pcap_pkthdr* header_ = nullptr;  // Read but not yet handed out, libpcap's memory.
  const std::uint8_t* bytes_ = nullptr;
  bool is_finished_ = true;
  std::optional<Error> read_error_;

  std::unique_ptr<pcap, Closer> writer_;
  std::unique_ptr<pcap_dumper, Closer> dumper_;
  WriteLink write_link_;
};

}  // namespace weir::io
