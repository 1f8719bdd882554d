#include "control/recording.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <span>
#include <sstream>
#include <utility>

namespace weir::control::testing {
namespace {

using netlink::Buffer;
using netlink::Message;

Buffer from_hex(const std::string& text) {
  Buffer bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

constexpr std::size_t align(std::size_t bytes) { return (bytes + 3) & ~std::size_t{3}; }

/// One attribute, to be changed and put together again. Its nest, if it is one, stays bytes:
/// nf_tables doesn't mark them.
struct Node {
  std::uint16_t raw_type = 0;
  Buffer payload;

  std::uint16_t type() const { return raw_type & NLA_TYPE_MASK; }
};
using Nodes = std::vector<Node>;

Nodes take_apart(Bytes bytes) {
  Nodes nodes;
  while (bytes.size() >= sizeof(nlattr)) {
    const auto header = load<nlattr>(bytes.data());
    if (header.nla_len < sizeof header || header.nla_len > bytes.size()) break;
    const Bytes payload = bytes.subspan(sizeof header, header.nla_len - sizeof header);
    nodes.push_back({header.nla_type, {payload.begin(), payload.end()}});
    bytes = bytes.subspan(std::min(align(header.nla_len), bytes.size()));
  }
  return nodes;
}

Buffer put_together(const Nodes& nodes) {
  Buffer bytes;
  for (const Node& node : nodes) {
    const nlattr header{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + node.payload.size()),
                        .nla_type = node.raw_type};
    const Bytes head = as_bytes(header);
    bytes.insert(bytes.end(), head.begin(), head.end());
    bytes.insert(bytes.end(), node.payload.begin(), node.payload.end());
    bytes.resize(align(bytes.size()));
  }
  return bytes;
}

/// Makes the payload of what lies at this path of types zero.
void blot(Nodes& nodes, std::span<const std::uint16_t> path) {
  for (Node& node : nodes) {
    if (node.type() != path.front()) continue;
    if (path.size() == 1) {
      std::ranges::fill(node.payload, std::uint8_t{0});
    } else {
      Nodes inner = take_apart(node.payload);
      blot(inner, path.subspan(1));
      node.payload = put_together(inner);
    }
  }
}

void blot(Nodes& nodes, std::initializer_list<std::uint16_t> path) {
  blot(nodes, std::span(path.begin(), path.size()));
}

void cut(Nodes& nodes, std::uint16_t type) {
  std::erase_if(nodes, [type](const Node& node) { return node.type() == type; });
}

/// Elements come in the order of somebody's hash.
void sort_elements(Nodes& nodes) {
  for (Node& node : nodes) {
    if (node.type() != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
    Nodes elements = take_apart(node.payload);
    std::ranges::sort(elements, {}, &Node::payload);
    node.payload = put_together(elements);
  }
}

constexpr std::uint16_t kSetStructure = 19;  ///< NFTA_SET_TYPE (Linux 6.13): ours have other names.

void compare_less_nftables(std::uint8_t number, Nodes& nodes) {
  switch (number) {
    case NFT_MSG_NEWGEN:  // Who asked.
      blot(nodes, {NFTA_GEN_PROC_PID});
      cut(nodes, NFTA_GEN_PROC_NAME);
      break;
    case NFT_MSG_NEWSET:
      cut(nodes, kSetStructure);
      break;
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_DELSETELEM:
      blot(nodes, {NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM, NFTA_SET_ELEM_EXPIRATION});
      sort_elements(nodes);
      break;
  }
}

void compare_less_ctnetlink(std::uint8_t number, Nodes& nodes) {
  if (number == IPCTNL_MSG_CT_GET_STATS_CPU) {
    for (Node& node : nodes) std::ranges::fill(node.payload, std::uint8_t{0});
    return;
  }
  constexpr std::uint16_t moment = 27;  // CTA_TIMESTAMP_EVENT (Linux 6.13).
  blot(nodes, {CTA_ID});
  blot(nodes, {CTA_TIMEOUT});
  blot(nodes, {moment});
  blot(nodes, {CTA_TIMESTAMP, CTA_TIMESTAMP_START});
  blot(nodes, {CTA_TIMESTAMP, CTA_TIMESTAMP_STOP});
}

/// Texts of extended acks are everyone's own; what they blame is not.
Buffer comparable_ack(const Message& ack) {
  auto header = ack.header();
  const std::size_t inner = Message::kHeaderBytes + sizeof(std::int32_t);
  const std::uint32_t asked = load<nlmsghdr>(ack.bytes().data() + inner).nlmsg_len;
  const bool is_capped = header.nlmsg_flags & NLM_F_CAPPED;
  const std::size_t end = inner + (is_capped ? Message::kHeaderBytes : align(asked));
  Nodes nodes = take_apart(ack.bytes().subspan(std::min(end, ack.bytes().size())));
  cut(nodes, NLMSGERR_ATTR_MSG);
  if (nodes.empty()) header.nlmsg_flags &= static_cast<std::uint16_t>(~NLM_F_ACK_TLVS);
  const Buffer explanation = put_together(nodes);
  Buffer bytes(ack.bytes().begin(), ack.bytes().begin() + static_cast<std::ptrdiff_t>(end));
  bytes.insert(bytes.end(), explanation.begin(), explanation.end());
  header.nlmsg_pid = 0;
  header.nlmsg_len = static_cast<std::uint32_t>(bytes.size());
  store(bytes.data(), header);
  return bytes;
}

Buffer comparable_message(const Message& message) {
  Nodes nodes = take_apart(message.attributes().bytes());
  if (message.subsystem() == NFNL_SUBSYS_NFTABLES) {
    compare_less_nftables(message.number(), nodes);
  } else {
    compare_less_ctnetlink(message.number(), nodes);
  }
  const std::size_t heads = Message::kHeaderBytes + Message::kFamilyBytes;
  Buffer bytes(message.bytes().begin(), message.bytes().begin() + heads);
  const Buffer attributes = put_together(nodes);
  bytes.insert(bytes.end(), attributes.begin(), attributes.end());
  auto header = message.header();
  header.nlmsg_pid = 0;
  header.nlmsg_len = static_cast<std::uint32_t>(bytes.size());
  store(bytes.data(), header);
  return bytes;
}

/// The kernel ends a dump of elements with an empty list when it stopped just before the end.
bool is_empty_list(const Message& message) {
  if (message.header().nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM)) return false;
  const Nodes nodes = take_apart(message.attributes().bytes());
  return !nodes.empty() && nodes.back().type() == NFTA_SET_ELEM_LIST_ELEMENTS &&
         nodes.back().payload.empty();
}

int connect_to(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
  return fd;
}

void put(int to, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

/// The messages of some datagrams, without what may differ.
std::vector<Buffer> comparable(Bytes datagrams) {
  std::vector<Buffer> messages;
  while (const auto message = Message::take(datagrams)) {
    if (message->header().nlmsg_type == NLMSG_ERROR) {
      messages.push_back(comparable_ack(*message));
    } else if (message->header().nlmsg_type == NLMSG_DONE) {
      Buffer bytes(message->bytes().begin(), message->bytes().end());
      std::fill(bytes.begin() + 12, bytes.begin() + 16, std::uint8_t{0});
      messages.push_back(std::move(bytes));
    } else if (!is_empty_list(*message)) {
      messages.push_back(comparable_message(*message));
    }
  }
  return messages;
}

bool is_success(const Buffer& message) {
  return load<nlmsghdr>(message.data()).nlmsg_type == NLMSG_ERROR &&
         load<std::int32_t>(message.data() + Message::kHeaderBytes) == 0;
}

std::string described(const Buffer& message) {
  std::ostringstream text;
  const auto header = load<nlmsghdr>(message.data());
  text << "type " << (header.nlmsg_type >> 8) << "/" << (header.nlmsg_type & 0xff) << " flags "
       << std::hex << header.nlmsg_flags << " ";
  for (std::size_t i = Message::kHeaderBytes; i < message.size(); ++i) {
    if (i % 4 == 0) text << ' ';
    text << (message[i] >> 4) << (message[i] & 15);
  }
  return text.str();
}

}  // namespace

std::vector<RecordedLine> read_recording(const std::string& name) {
  const std::filesystem::path here = __FILE__;
  std::ifstream file(here.parent_path() / "../../tests/golden" / name);
  std::vector<RecordedLine> lines;
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with('#')) continue;
    RecordedLine line;
    if (text.starts_with('!')) {
      line.what = "!";
      line.text = text.substr(text.find_first_not_of(' ', 1));
    } else {
      std::istringstream words(text);
      std::string hex;
      words >> line.socket >> line.what;
      if (line.what == "option") words >> line.number;
      words >> hex;
      line.bytes = from_hex(hex);
    }
    lines.push_back(std::move(line));
  }
  EXPECT_FALSE(lines.empty()) << name;
  return lines;
}

RawSocket::RawSocket(const std::string& path) {
  control_ = FileDescriptor(connect_to(path));
  Buffer secret;
  const weir_call hello{.operation = WEIR_HELLO,
                        .length = 0,
                        .a = WEIR_PROTOCOL_MAGIC,
                        .b = WEIR_PROTOCOL_VERSION,
                        .port_id = static_cast<std::uint32_t>(getpid()),
                        .groups = SOCK_RAW};
  const weir_answer answer = call(hello, {}, secret);
  data_ = FileDescriptor(connect_to(path));
  const weir_call attach{.operation = WEIR_ATTACH,
                         .length = static_cast<std::uint32_t>(secret.size()),
                         .a = static_cast<std::uint32_t>(answer.result),
                         .b = 0,
                         .port_id = 0,
                         .groups = 0};
  put(data_.get(), as_bytes(attach));
  put(data_.get(), secret);
  weir_answer attached{};
  take(data_.get(), &attached, sizeof attached);
}

void RawSocket::bind(std::uint32_t groups) {
  Buffer none;
  call({.operation = WEIR_BIND, .length = 0, .a = 0, .b = 0, .port_id = 0, .groups = groups}, {},
       none);
}

void RawSocket::set_option(std::uint32_t number, const Buffer& value) {
  Buffer none;
  const weir_answer answer = call({.operation = WEIR_SETSOCKOPT,
                                   .length = static_cast<std::uint32_t>(value.size()),
                                   .a = SOL_NETLINK,
                                   .b = number,
                                   .port_id = 0,
                                   .groups = 0},
                                  value, none);
  EXPECT_EQ(answer.result, 0) << "option " << number;
}

void RawSocket::send(const Buffer& datagram) {
  Buffer none;
  const weir_answer answer = call({.operation = WEIR_SEND,
                                   .length = static_cast<std::uint32_t>(datagram.size()),
                                   .a = 0,
                                   .b = 0,
                                   .port_id = 0,
                                   .groups = 0},
                                  datagram, none);
  EXPECT_EQ(answer.result, static_cast<std::int32_t>(datagram.size()));
}

Buffer RawSocket::receive() {
  Buffer all;
  for (;;) {
    // frames_due counts a dump that goes on as one more frame.
    Buffer none;
    const weir_answer due = call(
        {.operation = WEIR_GETSOCKNAME, .length = 0, .a = 0, .b = 0, .port_id = 0, .groups = 0}, {},
        none);
    if (frames_ == due.frames_due) return all;
    weir_frame frame{};
    take(data_.get(), &frame, sizeof frame);
    EXPECT_EQ(frame.error, 0);
    Buffer datagram(frame.length);
    take(data_.get(), datagram.data(), datagram.size());
    all.insert(all.end(), datagram.begin(), datagram.end());
    ++frames_;
  }
}

weir_answer RawSocket::call(const weir_call& call, Bytes payload, Buffer& answered) {
  put(control_.get(), as_bytes(call));
  put(control_.get(), payload);
  weir_answer answer{};
  take(control_.get(), &answer, sizeof answer);
  answered.resize(answer.length);
  take(control_.get(), answered.data(), answered.size());
  EXPECT_EQ(answer.error, 0) << std::strerror(answer.error);
  return answer;
}

void RawSocket::take(int from, void* into, std::size_t bytes) const {
  auto* at = static_cast<std::uint8_t*>(into);
  while (bytes) {
    const ssize_t got = recv(from, at, bytes, 0);
    ASSERT_GT(got, 0);
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

std::size_t replay(const std::vector<RecordedLine>& lines, const std::string& path,
                   const std::function<void(const std::string&)>& act) {
  struct Conversation {
    RawSocket socket;
    Buffer heard = {};
    Buffer expected = {};
  };
  std::map<std::uint32_t, Conversation> conversations;
  for (const RecordedLine& line : lines) {
    if (line.what == "!") {
      act(line.text);
      continue;
    }
    auto& [socket, heard, expected] =
        conversations.try_emplace(line.socket, Conversation{RawSocket(path)}).first->second;
    if (line.what == "bind") socket.bind(load<std::uint32_t>(line.bytes.data()));
    if (line.what == "option") socket.set_option(line.number, line.bytes);
    if (line.what == "<") expected.insert(expected.end(), line.bytes.begin(), line.bytes.end());
    if (line.what == ">") {
      socket.send(line.bytes);
      const Buffer answer = socket.receive();
      heard.insert(heard.end(), answer.begin(), answer.end());
    }
  }
  std::size_t compared = 0;
  for (auto& [number, conversation] : conversations) {
    const Buffer rest = conversation.socket.receive();
    conversation.heard.insert(conversation.heard.end(), rest.begin(), rest.end());
    const std::vector<Buffer> ours = comparable(conversation.heard);
    const std::vector<Buffer> theirs = comparable(conversation.expected);
    for (std::size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
      if (i >= theirs.size() && is_success(ours[i])) continue;  // The tool had gone already.
      ++compared;
      const std::string here = i < ours.size() ? described(ours[i]) : "nothing";
      const std::string there = i < theirs.size() ? described(theirs[i]) : "nothing";
      EXPECT_EQ(here, there) << "socket " << number << ", message " << i << ": we, the kernel";
      if (here != there) break;  // The rest has lost its step.
    }
  }
  return compared;
}

}  // namespace weir::control::testing
