#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cstring>

#include "control/server/server_fixture.h"

/// What a netlink socket does. The suite SocketSemantics makes plain system calls; it runs against
/// the kernel as it is, and once more, by Sockets.AreTheKernelsOnTheEngine, against the engine in a
/// process under the preload library.
namespace weir::control::testing {
namespace {

constexpr std::uint16_t kGetStats = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS;
/// No subsystem has this number.
constexpr std::uint16_t kUnknown = 200 << 8;

class Socket {
 public:
  explicit Socket(int type = SOCK_RAW) : number_(socket(AF_NETLINK, type, NETLINK_NETFILTER)) {}
  explicit Socket(int number, bool) : number_(number) {}
  ~Socket() {
    if (number_ >= 0) close(number_);
  }
  int get() const { return number_; }

  int bind(std::uint32_t port_id, std::uint32_t groups = 0) const {
    const sockaddr_nl address{
        .nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = port_id, .nl_groups = groups};
    return ::bind(number_, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ? errno
                                                                                            : 0;
  }
  sockaddr_nl name() const {
    sockaddr_nl address{};
    socklen_t length = sizeof address;
    EXPECT_EQ(getsockname(number_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    EXPECT_EQ(length, 12u);
    return address;
  }
  int set(int level, int option, int value) const {
    return setsockopt(number_, level, option, &value, sizeof value) < 0 ? errno : 0;
  }
  int get(int level, int option) const {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(getsockopt(number_, level, option, &value, &length), 0) << level << " " << option;
    return value;
  }
  /// Sends one message without attributes.
  int send(std::uint16_t type, std::uint16_t flags, std::uint32_t to = 0) const {
    struct {
      nlmsghdr header;
      nfgenmsg family;
    } message{};
    message.header.nlmsg_len = sizeof message;
    message.header.nlmsg_type = type;
    message.header.nlmsg_flags = flags;
    message.header.nlmsg_seq = 77;
    const sockaddr_nl address{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = to, .nl_groups = 0};
    const ssize_t sent = sendto(number_, &message, sizeof message, 0,
                                reinterpret_cast<const sockaddr*>(&address), sizeof address);
    return sent < 0 ? errno : 0;
  }
  /// Receives without waiting: bytes, or minus errno.
  ssize_t receive(std::size_t room = 4096, int flags = 0) {
    buffer_.assign(room, 0);
    const ssize_t got = recv(number_, buffer_.data(), room, flags | MSG_DONTWAIT);
    return got < 0 ? -errno : got;
  }
  nlmsghdr header() const { return load<nlmsghdr>(buffer_.data()); }
  std::int32_t error() const { return load<std::int32_t>(buffer_.data() + 16); }
  bool is_readable() const {
    pollfd wanted{.fd = number_, .events = POLLIN, .revents = 0};
    return poll(&wanted, 1, 0) == 1;
  }

 private:
  int number_;
  std::vector<std::uint8_t> buffer_;
};

class SocketSemantics : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root may ask the kernel";
    Socket probe;
    if (probe.get() < 0 || probe.send(kGetStats, NLM_F_REQUEST) || probe.receive() < 0) {
      GTEST_SKIP() << "no conntrack here";
    }
  }
};

TEST_F(SocketSemantics, AreBoundByTheirFirstSend) {
  Socket first, second;
  EXPECT_EQ(first.name().nl_pid, 0u);
  EXPECT_EQ(first.send(kGetStats, NLM_F_REQUEST), 0);
  EXPECT_EQ(first.name().nl_pid, static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(second.send(kGetStats, NLM_F_REQUEST), 0);
  EXPECT_GE(static_cast<std::int32_t>(second.name().nl_pid), INT32_MIN);
  EXPECT_LT(static_cast<std::int32_t>(second.name().nl_pid), -4096);
}

TEST_F(SocketSemantics, MayBeBoundAgainOnlyToTheirOwnPortId) {
  Socket first, second;
  EXPECT_EQ(first.bind(4711), 0);
  EXPECT_EQ(first.bind(4711, 1), 0);
  EXPECT_EQ(first.name().nl_groups, 1u);
  EXPECT_EQ(first.bind(4712), EINVAL);
  EXPECT_EQ(second.bind(4711), EADDRINUSE);
}

TEST_F(SocketSemantics, JoinAndLeaveGroups) {
  Socket socket;
  EXPECT_EQ(socket.set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 0), EINVAL);
  EXPECT_EQ(socket.set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 1), 0);
  EXPECT_EQ(socket.set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 3), 0);
  EXPECT_EQ(socket.name().nl_groups, 5u);
  EXPECT_EQ(socket.get(SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS), 5);
  EXPECT_EQ(socket.set(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, 1), 0);
  EXPECT_EQ(socket.name().nl_groups, 4u);
  EXPECT_EQ(socket.bind(0, 0), 0);
  EXPECT_EQ(socket.name().nl_groups, 0u);
}

TEST_F(SocketSemantics, HaveOptions) {
  Socket socket(SOCK_DGRAM);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_DOMAIN), AF_NETLINK);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_PROTOCOL), NETLINK_NETFILTER);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_RCVBUF, 50000), 0);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_RCVBUF), 100000);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_RCVBUF, 1), 0);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_RCVBUF), 2304);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_RCVBUFFORCE, 50 << 20), 0);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_RCVBUF), 100 << 20);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_SNDBUFFORCE, 50 << 20), 0);
  EXPECT_EQ(socket.get(SOL_SOCKET, SO_SNDBUF), 100 << 20);
  EXPECT_EQ(socket.set(SOL_NETLINK, 99, 1), ENOPROTOOPT);
  for (const int option : {NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS,
                           NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK}) {
    EXPECT_EQ(socket.get(SOL_NETLINK, option), 0) << option;
    EXPECT_EQ(socket.set(SOL_NETLINK, option, 5), 0) << option;
    EXPECT_EQ(socket.get(SOL_NETLINK, option), 1) << option;
  }
}

TEST_F(SocketSemantics, HaveTheirAnswersWhenSendReturns) {
  Socket socket;
  EXPECT_FALSE(socket.is_readable());
  EXPECT_EQ(socket.receive(), -EAGAIN);
  ASSERT_EQ(socket.send(kGetStats, NLM_F_REQUEST | NLM_F_ACK), 0);
  EXPECT_TRUE(socket.is_readable());
  EXPECT_GT(socket.receive(), 20);
  EXPECT_EQ(socket.header().nlmsg_type, kGetStats);
  EXPECT_EQ(socket.header().nlmsg_seq, 77u);
  EXPECT_EQ(socket.header().nlmsg_pid, static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(socket.receive(), 36);
  EXPECT_EQ(socket.header().nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(socket.header().nlmsg_flags, NLM_F_CAPPED);
  EXPECT_EQ(socket.error(), 0);
  EXPECT_EQ(socket.receive(), -EAGAIN);
}

TEST_F(SocketSemantics, AckAsTheirOptionsSay) {
  Socket socket;
  ASSERT_EQ(socket.send(kUnknown, NLM_F_REQUEST), 0);
  EXPECT_EQ(socket.receive(), 40);
  EXPECT_EQ(socket.error(), -EINVAL);
  EXPECT_EQ(socket.header().nlmsg_flags, 0);
  ASSERT_EQ(socket.set(SOL_NETLINK, NETLINK_CAP_ACK, 1), 0);
  ASSERT_EQ(socket.send(kUnknown, NLM_F_REQUEST), 0);
  EXPECT_EQ(socket.receive(), 36);
  EXPECT_EQ(socket.header().nlmsg_flags, NLM_F_CAPPED);
  // What isn't a request is not executed, only acked.
  ASSERT_EQ(socket.send(kUnknown, NLM_F_ACK), 0);
  EXPECT_EQ(socket.receive(), 36);
  EXPECT_EQ(socket.error(), 0);
  ASSERT_EQ(socket.send(kUnknown, 0), 0);
  EXPECT_EQ(socket.receive(), -EAGAIN);
}

TEST_F(SocketSemantics, PeekAndTruncate) {
  Socket socket;
  ASSERT_EQ(socket.send(kUnknown, NLM_F_REQUEST), 0);
  EXPECT_EQ(socket.receive(16, MSG_PEEK), 16);
  EXPECT_EQ(socket.receive(0, MSG_PEEK | MSG_TRUNC), 40);
  EXPECT_EQ(socket.receive(16, MSG_PEEK | MSG_TRUNC), 40);
  EXPECT_EQ(socket.header().nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(socket.receive(30), 30);
  EXPECT_EQ(socket.receive(), -EAGAIN) << "the rest of a datagram is gone";
}

TEST_F(SocketSemantics, SayWhereADatagramIsFrom) {
  Socket socket;
  ASSERT_EQ(socket.set(SOL_NETLINK, NETLINK_PKTINFO, 1), 0);
  ASSERT_EQ(socket.send(kUnknown, NLM_F_REQUEST), 0);
  std::array<std::uint8_t, 16> head{}, tail{};
  iovec parts[] = {{head.data(), head.size()}, {tail.data(), tail.size()}};
  sockaddr_nl from{.nl_family = 1, .nl_pad = 0, .nl_pid = 1, .nl_groups = 1};
  alignas(cmsghdr) std::array<std::uint8_t, 64> control{};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  EXPECT_EQ(recvmsg(socket.get(), &message, 0), 32);
  EXPECT_EQ(message.msg_flags, MSG_TRUNC);
  EXPECT_EQ(message.msg_namelen, 12u);
  EXPECT_EQ(from.nl_family, AF_NETLINK);
  EXPECT_EQ(from.nl_pid, 0u);
  EXPECT_EQ(load<std::int32_t>(tail.data()), -EINVAL);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  EXPECT_EQ(header->cmsg_type, NETLINK_PKTINFO);
  EXPECT_EQ(message.msg_controllen, CMSG_SPACE(4));
}

TEST_F(SocketSemantics, ReachOnlyTheKernelAndOtherSocketsThatExist) {
  Socket socket;
  EXPECT_EQ(socket.send(kGetStats, NLM_F_REQUEST, 999999), ECONNREFUSED);
}

TEST_F(SocketSemantics, RefuseDatagramsBeyondTheirSendBuffer) {
  Socket socket;
  const std::vector<std::uint8_t> large(600000);
  EXPECT_EQ(send(socket.get(), large.data(), large.size(), 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  ASSERT_EQ(socket.set(SOL_SOCKET, SO_SNDBUFFORCE, 600000), 0);
  EXPECT_EQ(send(socket.get(), large.data(), large.size(), 0), 600000);
}

TEST_F(SocketSemantics, AreOneByAnyCopyOfTheDescriptor) {
  Socket socket;
  ASSERT_EQ(socket.bind(4711), 0);
  Socket copy(dup(socket.get()), true);
  Socket high(fcntl(socket.get(), F_DUPFD_CLOEXEC, 50), true);
  EXPECT_GE(high.get(), 50);
  EXPECT_EQ(copy.name().nl_pid, 4711u);
  ASSERT_EQ(copy.send(kUnknown, NLM_F_REQUEST), 0);
  EXPECT_EQ(socket.receive(), 40);
  {
    Socket replaced(open("/dev/null", O_RDONLY | O_CLOEXEC), true);
    ASSERT_EQ(dup2(socket.get(), replaced.get()), replaced.get());
    ASSERT_EQ(replaced.send(kUnknown, NLM_F_REQUEST), 0);
  }
  EXPECT_EQ(high.receive(), 40);
}

TEST_F(SocketSemantics, AreSharedWithTheChildrenOfFork) {
  Socket socket;
  ASSERT_EQ(socket.bind(4711), 0);
  const pid_t child = fork();
  if (child == 0) {
    const bool is_good = socket.name().nl_pid == 4711u && !socket.send(kUnknown, NLM_F_REQUEST);
    close(socket.get());
    _exit(is_good ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(socket.receive(), 40);
  ASSERT_EQ(socket.send(kUnknown, NLM_F_REQUEST), 0) << "the child's close is its own";
}

TEST_F(SocketSemantics, AreReadAndWrittenInEveryWay) {
  Socket socket;
  nlmsghdr request{};
  request.nlmsg_len = sizeof request;
  request.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.nlmsg_type = kGetStats;
  std::array<std::uint8_t, 64> buffer{};
  EXPECT_EQ(write(socket.get(), &request, sizeof request), 16);
  EXPECT_EQ(read(socket.get(), buffer.data(), buffer.size()), 36);
  iovec halves[] = {{&request, 8}, {reinterpret_cast<std::uint8_t*>(&request) + 8, 8}};
  EXPECT_EQ(writev(socket.get(), halves, 2), 16);
  iovec into[] = {{buffer.data(), 16}, {buffer.data() + 16, 48}};
  EXPECT_EQ(readv(socket.get(), into, 2), 36);

  mmsghdr messages[3]{};
  for (auto& message : messages) {
    message.msg_hdr.msg_iov = halves;
    message.msg_hdr.msg_iovlen = 2;
  }
  EXPECT_EQ(sendmmsg(socket.get(), messages, 2, 0), 2);
  EXPECT_EQ(messages[1].msg_len, 16u);
  for (auto& message : messages) message.msg_hdr.msg_iov = into;
  EXPECT_EQ(recvmmsg(socket.get(), messages, 3, MSG_WAITFORONE, nullptr), 2);
  EXPECT_EQ(messages[1].msg_len, 36u);
}

TEST_F(SocketSemantics, FilterWhatTheyReceive) {
  Socket socket;
  sock_filter pass_errors_only[] = {
      {.code = BPF_LD | BPF_H | BPF_ABS, .jt = 0, .jf = 0, .k = 4},
      // nlmsg_type in the machine's order, read as big endian.
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 1, .k = NLMSG_ERROR << 8},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 30},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0},
  };
  const sock_fprog program{.len = 4, .filter = pass_errors_only};
  ASSERT_EQ(setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
  ASSERT_EQ(socket.send(kGetStats, NLM_F_REQUEST | NLM_F_ACK), 0);
  EXPECT_EQ(socket.receive(), 30) << "the ack, cut by the filter";
  EXPECT_EQ(socket.receive(), -EAGAIN) << "the answer did not pass";
  const sock_fprog endless{.len = 3, .filter = pass_errors_only};
  EXPECT_EQ(setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &endless, sizeof endless), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_DETACH_FILTER, 0), 0);
  EXPECT_EQ(socket.set(SOL_SOCKET, SO_DETACH_FILTER, 0), ENOENT);
}

/// Answers GET_STATS, which is all that SocketSemantics asks.
class Stats final : public Subsystem {
 public:
  std::uint8_t id() const override { return NFNL_SUBSYS_CTNETLINK; }
  bool is_change(std::uint8_t) const override { return false; }
  Result<void> handle(const Request& request, Reply& reply) override {
    ++asked;
    if (request.message.number() != IPCTNL_MSG_CT_GET_STATS) {
      return std::unexpected(Error{EINVAL, "not in this test"});
    }
    reply.writer().begin(request.answer(IPCTNL_MSG_CT_GET_STATS));
    reply.writer().put_be32(CTA_STATS_GLOBAL_ENTRIES, 1u);
    reply.writer().end();
    return {};
  }

  int asked = 0;
};

TEST(Sockets, AreTheKernelsOnTheEngine) {
  TemporaryDirectory directory;
  const std::string path = directory.file("weir.sock");
  Stats stats;
  ServerThread server({.socket_path = path});
  server.server().add(stats);
  server.start();
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  ASSERT_GT(length, 0);
  const Output output = run_tool(path, "env ASAN_OPTIONS=verify_asan_link_order=0 " +
                                           std::string(self, static_cast<std::size_t>(length)) +
                                           " --gtest_filter='SocketSemantics.*'");
  EXPECT_EQ(output.status, 0) << output.text;
  if (geteuid() == 0) {
    EXPECT_EQ(output.text.find("SKIPPED"), std::string::npos) << output.text;
  }
  EXPECT_EQ(output.text.find("no engine answers"), std::string::npos) << output.text;
  server.stop();
  EXPECT_TRUE(stats.asked > 0 || geteuid() != 0) << "the kernel has answered instead";
  EXPECT_EQ(server.server().sessions(), 0u) << "closed sockets leave nothing behind";
}

}  // namespace
}  // namespace weir::control::testing
