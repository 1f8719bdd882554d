#include "io/pcap_port.h"

#include <pcap/pcap.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/frame_link.h"
#include "io/pcap_link.h"
#include "io/vlan.h"
#include "packet/checksum.h"
#include "packet/segment.h"

namespace weir::io {
namespace {

constexpr int kSnapBytes = 262144;

std::string link_name(int dlt) {
  const char* const name = pcap_datalink_val_to_name(dlt);
  return name != nullptr ? name : std::to_string(dlt);
}

/// With nanosecond precision libpcap keeps nanoseconds in tv_usec.
/// Years outside 1970 to 2255, which only a broken pcapng can have, are brought inside: nanoseconds
/// of any others don't fit.
Time time_of(const timeval& stamp) {
  constexpr time_t kLatest = 9'000'000'000;
  const auto seconds = std::chrono::seconds(std::clamp<time_t>(stamp.tv_sec, 0, kLatest));
  return Time(seconds +
              std::chrono::nanoseconds(std::clamp<suseconds_t>(stamp.tv_usec, 0, 999'999'999)));
}

timeval stamp_of(Time time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  const auto rest = time.time_since_epoch() - seconds;
  return {.tv_sec = static_cast<time_t>(seconds.count()),
          .tv_usec = static_cast<suseconds_t>(rest.count())};
}

}  // namespace

void PcapPort::Closer::operator()(pcap* handle) const { pcap_close(handle); }
void PcapPort::Closer::operator()(pcap_dumper* dumper) const { pcap_dump_close(dumper); }

PcapPort::~PcapPort() = default;

Result<std::unique_ptr<PcapPort>> PcapPort::open(const Options& options) {
  std::unique_ptr<PcapPort> port(new PcapPort(options.write_link));
  if (!options.read_path.empty()) {
    if (auto opened = port->open_reader(options.read_path); !opened) {
      return std::unexpected(opened.error());
    }
  }
  if (!options.write_path.empty()) {
    if (auto opened = port->open_writer(options.write_path); !opened) {
      return std::unexpected(opened.error());
    }
  }
  return port;
}

Result<void> PcapPort::open_reader(const std::string& path) {
  char text[PCAP_ERRBUF_SIZE] = "";
  errno = 0;
  reader_.reset(
      pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, text));
  if (!reader_) {
    return std::unexpected(
        Error{errno != 0 ? errno : EINVAL, "can't read the capture " + path + ": " + text});
  }
  link_type_ = pcap_datalink(reader_.get());
  if (!is_known_link(link_type_)) {
    return std::unexpected(
        Error{EOPNOTSUPP, "the capture " + path + " has link type " + link_name(link_type_) +
                              "; weir reads Ethernet, Linux cooked, raw IP and loopback"});
  }
  is_finished_ = false;
  return {};
}

Result<void> PcapPort::open_writer(const std::string& path) {
  const int dlt = write_link_ == WriteLink::ethernet ? DLT_EN10MB : DLT_RAW;
  writer_.reset(pcap_open_dead_with_tstamp_precision(dlt, kSnapBytes, PCAP_TSTAMP_PRECISION_NANO));
  if (!writer_) return std::unexpected(Error{ENOMEM, "no memory for a capture writer"});
  errno = 0;
  dumper_.reset(pcap_dump_open(writer_.get(), path.c_str()));
  if (!dumper_) {
    return std::unexpected(Error{errno != 0 ? errno : EINVAL,
                                 "can't write " + path + ": " + pcap_geterr(writer_.get())});
  }
  return {};
}

bool PcapPort::fetch() {
  if (header_ != nullptr) return true;
  if (is_finished_) return false;
  pcap_pkthdr* header = nullptr;
  const int result = pcap_next_ex(reader_.get(), &header, &bytes_);
  if (result == 1) {
    header_ = header;
    return true;
  }
  is_finished_ = true;
  if (result != PCAP_ERROR_BREAK) read_error_ = Error{EIO, pcap_geterr(reader_.get())};
  return false;
}

/// Null when the pool has no buffer: the packet stays fetched. What can't become a frame is counted
/// as missed and passed over by clearing header_, also with null.
packet::Packet* PcapPort::take_fetched(packet::Pool& pool) {
  const Bytes captured(bytes_, header_->caplen);
  const auto link = read_link(link_type_, captured);
  if (!link) {
    counters_.rx_missed.add();
    header_ = nullptr;
    return nullptr;
  }
  const std::size_t added = link->is_ethernet ? 0 : sizeof(wire::Ethernet);
  const Bytes payload = captured.subspan(link->header_bytes);
  const std::size_t true_bytes =
      std::max<std::size_t>(header_->len, captured.size()) - link->header_bytes + added;
  if (added + payload.size() > packet::kLargeFrameBytes) {
    counters_.rx_missed.add();
    header_ = nullptr;
    return nullptr;
  }
  const std::size_t frame_bytes = std::min<std::size_t>(true_bytes, packet::kLargeFrameBytes);
  packet::Packet* const packet = pool.take(static_cast<std::uint32_t>(frame_bytes));
  if (packet == nullptr) return nullptr;

  packet->length = static_cast<std::uint32_t>(frame_bytes);
  std::uint8_t* const frame = packet->frame();
  std::memset(frame, 0, added);
  if (!payload.empty()) std::memcpy(frame + added, payload.data(), payload.size());
  std::memset(frame + added + payload.size(), 0, frame_bytes - added - payload.size());
  if (link->is_ethernet) {
    packet->link_type = link_type_of(*packet);
  } else {
    wire::at<wire::Ethernet>(frame).set_type(link->ethertype);
    packet->link_type = link->link_type;
  }
  packet->arrived = time_of(header_->ts);
  if (frame_bytes > added + payload.size()) {
    packet->is_cut = true;
    packet->checksum = packet::Checksum::verified;
  }
  header_ = nullptr;
  return packet;
}

std::size_t PcapPort::receive(packet::Batch& batch, packet::Pool& pool) {
  std::size_t added = 0;
  while (!batch.is_full() && fetch()) {
    packet::Packet* const packet = take_fetched(pool);
    if (packet == nullptr) {
      if (header_ != nullptr) break;
      continue;
    }
    counters_.rx_packets.add();
    counters_.rx_bytes.add(packet->length);
    batch.add(packet);
    ++added;
  }
  return added;
}

void PcapPort::send(std::span<packet::Packet* const> packets, packet::Pool& pool) {
  for (packet::Packet* const packet : packets) {
    if (packet->gso.type != packet::Gso::Type::none) {
      const std::size_t made = packet::segment(*packet, pool, [&](packet::Packet* part) {
        write(*part);
        pool.release(part);
      });
      if (made == 0) counters_.tx_failed.add();
    } else if (packet::finish_checksum(*packet)) {
      write(*packet);
    } else {
      counters_.tx_failed.add();
    }
    pool.release(packet);
  }
}

void PcapPort::write(packet::Packet& packet) {
  const bool is_raw = write_link_ == WriteLink::raw;
  if (!is_raw) restore_vlan(packet);
  const Bytes bytes = is_raw ? packet.bytes().subspan(packet.l3_offset) : packet.bytes();
  counters_.tx_packets.add();
  counters_.tx_bytes.add(packet.length);
  if (!dumper_) return;
  pcap_pkthdr header{};
  header.ts = stamp_of(packet.arrived);
  header.caplen = static_cast<bpf_u_int32>(bytes.size());
  header.len = header.caplen;
  pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, bytes.data());
}

Result<void> PcapPort::flush() {
  if (dumper_ && pcap_dump_flush(dumper_.get()) != 0) return std::unexpected(system_error("write"));
  return {};
}

}  // namespace weir::io
