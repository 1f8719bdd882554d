#include "control/server/session.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "control/server/dispatcher.h"
#include "control/server/server_fixture.h"
#include "preload/protocol.h"

/// Sessions without a server: the reader's end of the data connection is the test's.
namespace weir::control::testing {
namespace {

struct Frame {
  weir_frame header;
  netlink::Buffer datagram;
};

class SessionTest : public ::testing::Test {
 protected:
  void make(Rights rights = {.may_read = true, .may_change = true}) {
    session_ = std::make_unique<Session>(
        Session::Identity{.number = 1, .secret = 2, .peer = {}, .rights = rights}, limits_);
    std::array<int, 2> pair{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    reader_ = FileDescriptor(pair[1]);
    epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    ASSERT_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pair[0], &event), 0);
    session_->attach(FileDescriptor(pair[0]), epoll_.get());
  }
  void SetUp() override { make(); }

  bool take(void* into, std::size_t bytes) {
    auto* at = static_cast<std::uint8_t*>(into);
    while (bytes) {
      const ssize_t got = recv(reader_.get(), at, bytes, MSG_DONTWAIT);
      if (got > 0) {
        at += got;
        bytes -= static_cast<std::size_t>(got);
      } else {
        const std::uint32_t before = session_->frames_due();
        session_->pump();
        const ssize_t more = recv(reader_.get(), at, 1, MSG_DONTWAIT | MSG_PEEK);
        if (more <= 0 && session_->frames_due() == before) return false;
      }
    }
    return true;
  }
  /// The next frame, the session pumped as the server would.
  std::optional<Frame> read() {
    Frame frame;
    if (!take(&frame.header, sizeof frame.header)) return {};
    frame.datagram.resize(frame.header.length);
    if (!take(frame.datagram.data(), frame.datagram.size())) return {};
    return frame;
  }
  template <typename T>
  void set(int level, int option, T value) {
    ASSERT_TRUE(session_->set_option(level, option, as_bytes(value)));
  }

  BufferLimits limits_;
  std::unique_ptr<Session> session_;
  FileDescriptor reader_;
  FileDescriptor epoll_;
};

TEST_F(SessionTest, ASlowReaderLosesIsToldAndResumes) {
  set(SOL_SOCKET, SO_RCVBUF, 30000);
  const std::vector<std::uint8_t> event(200, 7);
  int queued = 0;
  while (session_->deliver(event, 1) == Session::Delivery::queued) ++queued;
  EXPECT_GT(queued, 20);
  EXPECT_LT(queued, 400);
  EXPECT_EQ(session_->deliver(event, 1), Session::Delivery::lost);
  EXPECT_EQ(session_->lost(), 2u);

  for (int i = 0; i < queued; ++i) {
    const auto frame = read();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->header.error, 0);
    EXPECT_EQ(frame->datagram, event);
    if (i == queued / 2) {
      EXPECT_EQ(session_->deliver(event, 1), Session::Delivery::lost)
          << "only an empty receive buffer ends the congestion";
    }
  }
  const auto told = read();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->header.error, ENOBUFS);
  EXPECT_FALSE(read());
  EXPECT_EQ(session_->deliver(event, 1), Session::Delivery::queued);
  EXPECT_TRUE(read());

  netlink::Buffer information;
  ASSERT_TRUE(session_->get_option(SOL_SOCKET, SO_MEMINFO, 64, information));
  EXPECT_EQ(load<std::uint32_t>(information.data() + 8 * 4), 3u) << "SK_MEMINFO_DROPS";
}

TEST_F(SessionTest, WithoutEnobufsLossesAreOnlyCounted) {
  set(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
  set(SOL_SOCKET, SO_RCVBUF, 30000);
  const std::vector<std::uint8_t> event(200, 7);
  while (session_->deliver(event, 1) == Session::Delivery::queued) {
  }
  while (const auto frame = read()) EXPECT_EQ(frame->header.error, 0);
  EXPECT_EQ(session_->lost(), 1u);
}

/// Numbered messages of 300 bytes.
class Numbers final : public Dump {
 public:
  explicit Numbers(std::uint32_t count, std::uint64_t& generation)
      : count_(count), generation_(generation) {}
  Result<Step> next(netlink::Writer& out, std::size_t) override {
    if (next_ == count_) return Step::done;
    out.begin({.type = 0x0101});
    out.put_u32(1, next_++);
    out.put(2, std::vector<std::uint8_t>(272));
    out.end();
    return Step::more;
  }
  std::uint64_t generation() const override { return generation_; }

 private:
  std::uint32_t count_;
  std::uint32_t next_ = 0;
  std::uint64_t& generation_;
};

netlink::Buffer request(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence = 5) {
  netlink::Buffer buffer;
  netlink::Writer writer(buffer);
  writer.begin({.type = type, .flags = flags, .sequence = sequence});
  writer.end();
  return buffer;
}

struct DumpRead {
  std::vector<std::uint32_t> numbers;
  std::vector<std::uint32_t> interrupted;  ///< Numbers of messages with NLM_F_DUMP_INTR.
  std::size_t largest = 0;
  bool is_done = false;
};

void read_datagram(const netlink::Buffer& datagram, DumpRead& into) {
  constexpr netlink::Rule rules[] = {{.type = 1}};
  into.largest = std::max(into.largest, datagram.size());
  Bytes rest(datagram);
  while (const auto message = netlink::Message::take(rest)) {
    EXPECT_TRUE(message->flags() & NLM_F_MULTI);
    if (message->header().nlmsg_type == NLMSG_DONE) {
      into.is_done = true;
      continue;
    }
    const auto number = netlink::Attributes::parse(message->attributes(), rules)->u32(1);
    into.numbers.push_back(number);
    if (message->flags() & NLM_F_DUMP_INTR) into.interrupted.push_back(number);
  }
}

TEST_F(SessionTest, DumpsComeWholeInSmallDatagrams) {
  std::uint64_t generation = 1;
  const netlink::Buffer bytes = request(0x0101, NLM_F_REQUEST | NLM_F_DUMP);
  Bytes rest(bytes);
  const auto message = *netlink::Message::take(rest);
  ASSERT_TRUE(session_->start_dump(std::make_unique<Numbers>(5000, generation), message));
  EXPECT_EQ(session_->start_dump(std::make_unique<Numbers>(1, generation), message).error().code,
            EBUSY);
  DumpRead dump;
  std::uint32_t frames = 0;
  while (const auto frame = read()) {
    ++frames;
    read_datagram(frame->datagram, dump);
    EXPECT_EQ(frame->header.flags & WEIR_FRAME_MORE, dump.is_done ? 0u : 1u);
    if (frames == 2) generation = 2;
  }
  ASSERT_EQ(dump.numbers.size(), 5000u);
  for (std::uint32_t i = 0; i < 5000; ++i) ASSERT_EQ(dump.numbers[i], i);
  EXPECT_TRUE(dump.is_done);
  EXPECT_LE(dump.largest, 3712u);
  EXPECT_EQ(dump.interrupted.size(), 1u) << "the first message after the change";
  EXPECT_EQ(session_->frames_due(), frames);
  EXPECT_FALSE(session_->is_dumping());
}

/// Remembers the order of what it is told.
class Recorder final : public Subsystem, public Batches {
 public:
  std::uint8_t id() const override { return NFNL_SUBSYS_NFTABLES; }
  bool is_change(std::uint8_t number) const override { return number == 9; }
  Batches* batches() override { return this; }
  Result<void> handle(const Request&, Reply&) override { return {}; }
  bool takes(std::uint8_t number) const override { return number < 100; }
  std::uint32_t generation() const override { return 7; }
  Result<void> apply(const Request& request) override {
    log += "a";
    if (request.message.number() != 50) return {};
    return std::unexpected(Error{EEXIST, "exists"});
  }
  Result<void> apply_checked(const Request& request) override {
    log += "c";
    if (request.message.number() != 60) return {};
    return std::unexpected(Error{EMLINK, "closes a loop"});
  }
  Result<void> commit(const Request&) override {
    log += "C";
    if (!fails_commit) return {};
    return std::unexpected(Error{ENOMEM, "no room"});
  }
  Result<void> check_and_abort() override {
    log += "V";
    return {};
  }
  void abort() override { log += "X"; }

  std::string log;
  bool fails_commit = false;
};

constexpr std::uint16_t kTables = NFNL_SUBSYS_NFTABLES << 8;

struct Part {
  std::uint16_t type;
  std::uint16_t flags = NLM_F_REQUEST;
};
constexpr Part kBegin{NFNL_MSG_BATCH_BEGIN};
constexpr Part kEnd{NFNL_MSG_BATCH_END};

class BatchTest : public SessionTest {
 protected:
  BatchTest() { dispatcher_.add(recorder_); }

  /// Executes a batch; the answers as "sequence:errno" in their order.
  std::string execute(const std::vector<Part>& parts, std::uint32_t generation = 0) {
    netlink::Buffer batch;
    netlink::Writer writer(batch);
    std::uint32_t sequence = 0;
    for (const Part& part : parts) {
      writer.begin({.type = part.type,
                    .flags = part.flags,
                    .sequence = sequence++,
                    .resource_id = NFNL_SUBSYS_NFTABLES});
      if (part.type == NFNL_MSG_BATCH_BEGIN && generation) {
        writer.put_be32(NFNL_BATCH_GENID, generation);
      }
      writer.end();
    }
    dispatcher_.execute(*session_, batch);
    std::string answers;
    while (const auto frame = read()) {
      Bytes rest(frame->datagram);
      const auto message = *netlink::Message::take(rest);
      answers += std::to_string(message.sequence()) + ":" +
                 std::to_string(-load<std::int32_t>(frame->datagram.data() + 16)) + " ";
    }
    return answers;
  }

  Recorder recorder_;
  Dispatcher dispatcher_;
};

TEST_F(BatchTest, CommitsWhatHasNoError) {
  EXPECT_EQ(execute({kBegin, {kTables | 1}, {kTables | 2, NLM_F_REQUEST | NLM_F_ACK}, kEnd}),
            "2:0 ");
  EXPECT_EQ(recorder_.log, "aaC");
}

TEST_F(BatchTest, TriesAllReportsAllAndKeepsNothing) {
  EXPECT_EQ(execute({kBegin, {kTables | 50}, {kTables | 1}, {kTables | 50}, {kTables | 100}, kEnd}),
            "1:17 3:17 4:22 ");
  EXPECT_EQ(recorder_.log, "aaaX");
}

TEST_F(BatchTest, WithoutItsEndIsOnlyChecked) {
  EXPECT_EQ(execute({kBegin, {kTables | 1}}), "");
  EXPECT_EQ(recorder_.log, "aV");
}

TEST_F(BatchTest, OfAnotherGenerationIsToStartAgain) {
  EXPECT_EQ(execute({kBegin, {kTables | 1}, kEnd}, 6), "0:85 ");
  EXPECT_EQ(recorder_.log, "");
  EXPECT_EQ(execute({kBegin, {kTables | 1}, kEnd}, 7), "");
  EXPECT_EQ(recorder_.log, "aC");
}

TEST_F(BatchTest, MixesNoSubsystems) {
  EXPECT_EQ(execute({kBegin, {NFNL_SUBSYS_CTNETLINK << 8}, kEnd}), "1:22 ");
  EXPECT_EQ(recorder_.log, "X");
}

TEST_F(BatchTest, WhoseCommitFailsIsAborted) {
  recorder_.fails_commit = true;
  EXPECT_EQ(execute({kBegin, {kTables | 1}, kEnd}), "1:12 ") << "nobody in particular is to blame";
  EXPECT_EQ(recorder_.log, "aCcX");
}

TEST_F(BatchTest, WhoseCommitFailsBlamesTheMessageThatCompletedTheFault) {
  recorder_.fails_commit = true;
  EXPECT_EQ(
      execute(
          {kBegin, {kTables | 1, NLM_F_REQUEST | NLM_F_ACK}, {kTables | 60}, {kTables | 2}, kEnd}),
      "1:0 2:31 ");
  EXPECT_EQ(recorder_.log, "aaaCcccX");
}

TEST_F(BatchTest, ThatBeginsTwiceIsForgottenSilently) {
  EXPECT_EQ(execute({kBegin, {kTables | 50}, kBegin, kEnd}), "");
  EXPECT_EQ(recorder_.log, "aX");
}

TEST_F(BatchTest, ReadersMayNotChange) {
  make({.may_read = true, .may_change = false});
  EXPECT_EQ(execute({kBegin, {kTables | 1}, kEnd}), "0:1 ");
  EXPECT_EQ(execute({{kTables | 9}}), "0:1 ") << "outside of a batch neither";
  EXPECT_EQ(execute({{kTables | 8, NLM_F_REQUEST | NLM_F_ACK}}), "0:0 ");
  EXPECT_EQ(recorder_.log, "");
  make({.may_read = false, .may_change = false});
  EXPECT_EQ(execute({{kTables | 8}, {kTables | 8}}), "0:1 ") << "once a datagram";
}

TEST(SocketFilter, FindsAttributesInNests) {
  // conntrackd's kind: the type of the attribute 1 in the nest of type 3.
  const sock_filter program[] = {
      {.code = BPF_LD | BPF_IMM, .jt = 0, .jf = 0, .k = 20},
      {.code = BPF_LDX | BPF_IMM, .jt = 0, .jf = 0, .k = 3},
      {.code = BPF_LD | BPF_B | BPF_ABS,
       .jt = 0,
       .jf = 0,
       .k = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 4, .jf = 0, .k = 0},
      {.code = BPF_LDX | BPF_IMM, .jt = 0, .jf = 0, .k = 1},
      {.code = BPF_LD | BPF_B | BPF_ABS,
       .jt = 0,
       .jf = 0,
       .k = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR_NEST)},
      {.code = BPF_MISC | BPF_TAX, .jt = 0, .jf = 0, .k = 0},
      {.code = BPF_LD | BPF_W | BPF_IND, .jt = 0, .jf = 0, .k = 4},
      {.code = BPF_RET | BPF_A, .jt = 0, .jf = 0, .k = 0},
  };
  const auto filter = SocketFilter::check(program);
  ASSERT_TRUE(filter);
  netlink::Buffer message;
  netlink::Writer out(message);
  out.begin({});
  out.put_u8(9, 1);
  {
    const auto nest = out.nest(3);
    out.put_u8(7, 1);
    out.put_be32(1, 4711u);
  }
  out.end();
  EXPECT_EQ(filter->run(message), 4711u);
  EXPECT_EQ(filter->run(request(1, 0)), 0u) << "no such nest: A is zero";
  EXPECT_EQ(filter->run(Bytes(message).first(40)), 0u) << "cut in the middle";
}

TEST(SocketFilter, RefusesUnsoundPrograms) {
  const sock_filter ret{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 1};
  const std::vector<std::vector<sock_filter>> programs = {
      {},
      {{.code = BPF_LD | BPF_IMM, .jt = 0, .jf = 0, .k = 1}},
      {{.code = BPF_JMP | BPF_JA, .jt = 0, .jf = 0, .k = 1}, ret},
      {{.code = BPF_JMP | BPF_JEQ, .jt = 1, .jf = 0, .k = 0}, ret},
      {{.code = BPF_ST, .jt = 0, .jf = 0, .k = 16}, ret},
      {{.code = BPF_ALU | BPF_DIV, .jt = 0, .jf = 0, .k = 0}, ret},
      {{.code = 0xffff, .jt = 0, .jf = 0, .k = 0}, ret},
  };
  for (std::size_t i = 0; i < programs.size(); ++i) {
    EXPECT_FALSE(SocketFilter::check(programs[i])) << i;
  }
  EXPECT_TRUE(SocketFilter::check(std::vector{ret}));
}

TEST(Listener, ServesAPathOnceAndReplacesWhatADeadEngineLeft) {
  TemporaryDirectory directory;
  const std::string path = directory.file("weir.sock");
  {
    const auto first = Listener::open(path, {.mode = 0600});
    ASSERT_TRUE(first) << first.error().text;
    const auto second = Listener::open(path, {.mode = 0600});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, EADDRINUSE);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0) << "removed at the end";
  EXPECT_NE(access((path + ".lock").c_str(), F_OK), 0);
  std::fclose(std::fopen(path.c_str(), "w"));
  std::fclose(std::fopen((path + ".lock").c_str(), "w"));
  EXPECT_TRUE(Listener::open(path, {.mode = 0600}));
}

TEST(Access, IsByUserGroupAndSupplementaryGroup) {
  const AccessPolicy policy{.readers = {.uids = {1000}, .gids = {50}}, .changers = {.gids = {60}}};
  const auto rights = [&](uid_t uid, gid_t gid, std::vector<gid_t> groups) {
    const Rights found = rights_of(
        {.peer = {.pid = 1, .uid = uid, .gid = gid}, .groups = std::move(groups)}, policy);
    return (found.may_read ? 1 : 0) + (found.may_change ? 2 : 0);
  };
  EXPECT_EQ(rights(0, 9, {}), 3);
  EXPECT_EQ(rights(geteuid(), 9, {}), 3);
  EXPECT_EQ(rights(1000, 9, {}), 1);
  EXPECT_EQ(rights(1001, 9, {}), 0);
  EXPECT_EQ(rights(1001, 50, {}), 1);
  EXPECT_EQ(rights(1001, 9, {8, 60}), 3);
}

}  // namespace
}  // namespace weir::control::testing
