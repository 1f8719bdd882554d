#include "netlink/writer.h"

#include <cstring>

namespace weir::netlink {
namespace {

void append(Buffer& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

}  // namespace

void Writer::begin(const Start& start) {
  message_ = out_->size();
  nlmsghdr header{};
  header.nlmsg_type = start.type;
  header.nlmsg_flags = start.flags;
  header.nlmsg_seq = start.sequence;
  header.nlmsg_pid = start.port_id;
  append(*out_, as_bytes(header));
  const nfgenmsg family{.nfgen_family = start.family,
                        .version = start.version,
                        .res_id = Be16::from_host(start.resource_id).raw};
  append(*out_, as_bytes(family));
}

void Writer::end() { store(out_->data() + message_, static_cast<std::uint32_t>(size())); }

void Writer::cancel() { out_->resize(message_); }

Writer::Nest Writer::nest(std::uint16_t type) {
  return {*this, open_nest(static_cast<std::uint16_t>(type | NLA_F_NESTED))};
}

Writer::Nest Writer::nest_plain(std::uint16_t type) { return {*this, open_nest(type)}; }

void Writer::Nest::cancel() {
  writer_->out_->resize(at_);
  writer_ = nullptr;
}

std::size_t Writer::open_nest(std::uint16_t type) {
  const std::size_t at = out_->size();
  append(*out_, as_bytes(nlattr{.nla_len = 0, .nla_type = type}));
  return at;
}

void Writer::close_nest(std::size_t at) {
  store(out_->data() + at, static_cast<std::uint16_t>(out_->size() - at));
}

void Writer::put(std::uint16_t type, Bytes payload) {
  const auto length = static_cast<std::uint16_t>(Attribute::kHeaderBytes + payload.size());
  const std::size_t at = out_->size();
  out_->resize(at + align(static_cast<std::uint32_t>(Attribute::kHeaderBytes + payload.size())));
  store(out_->data() + at, nlattr{.nla_len = length, .nla_type = type});
  if (!payload.empty()) {
    std::memcpy(out_->data() + at + Attribute::kHeaderBytes, payload.data(), payload.size());
  }
}

void Writer::put_string(std::uint16_t type, std::string_view text) {
  const auto length = static_cast<std::uint16_t>(Attribute::kHeaderBytes + text.size() + 1);
  const std::size_t at = out_->size();
  out_->resize(at + align(length));  // Zeroes, so the NUL and the padding are there.
  store(out_->data() + at, nlattr{.nla_len = length, .nla_type = type});
  std::memcpy(out_->data() + at + Attribute::kHeaderBytes, text.data(), text.size());
}

}  // namespace weir::netlink
