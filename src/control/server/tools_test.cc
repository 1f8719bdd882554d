#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <array>
#include <functional>

#include "control/server/server_fixture.h"

/// Unmodified tools against the server, with subsystems that know just what is asked of them.
namespace weir::control::testing {
namespace {

/// `entries` UDP flows, numbered by their source port.
class FlowDump final : public Dump {
 public:
  FlowDump(netlink::Writer::Start start, std::uint32_t entries) : start_(start), left_(entries) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    if (!left_) return Step::done;
    --left_;
    out.begin(start_);
    write_tuple(out, CTA_TUPLE_ORIG);
    write_tuple(out, CTA_TUPLE_REPLY);
    out.put_be32(CTA_STATUS, 8u);
    out.put_be32(CTA_TIMEOUT, 30u);
    out.end();
    return left_ ? Step::more : Step::done;
  }

 private:
  void write_tuple(netlink::Writer& out, std::uint16_t type) const {
    const auto tuple = out.nest(type);
    {
      const auto ip = out.nest(CTA_TUPLE_IP);
      out.put_be32(CTA_IP_V4_SRC, 0x0a000001u);
      out.put_be32(CTA_IP_V4_DST, 0x0a000002u);
    }
    const auto protocol = out.nest(CTA_TUPLE_PROTO);
    out.put_u8(CTA_PROTO_NUM, 17);
    out.put_be16(CTA_PROTO_SRC_PORT, static_cast<std::uint16_t>(left_));
    out.put_be16(CTA_PROTO_DST_PORT, std::uint16_t{53});
  }

  netlink::Writer::Start start_;
  std::uint32_t left_;
};

class Conntrack final : public Subsystem {
 public:
  std::uint8_t id() const override { return NFNL_SUBSYS_CTNETLINK; }
  bool is_change(std::uint8_t number) const override { return number == IPCTNL_MSG_CT_DELETE; }

  Result<void> handle(const Request& request, Reply& reply) override {
    auto answer = request.answer(IPCTNL_MSG_CT_NEW);
    answer.family = AF_INET;
    switch (request.message.number()) {
      case IPCTNL_MSG_CT_GET:
        if (!request.is_dump()) return std::unexpected(Error{ENOENT, "no such flow"});
        return reply.start_dump(std::make_unique<FlowDump>(answer, entries));
      case IPCTNL_MSG_CT_GET_STATS:
        reply.writer().begin(request.answer(IPCTNL_MSG_CT_GET_STATS));
        reply.writer().put_be32(CTA_STATS_GLOBAL_ENTRIES, entries);
        reply.writer().end();
        return {};
      case IPCTNL_MSG_CT_DELETE:
        entries = 0;
        return {};
      default:
        return std::unexpected(Error{EOPNOTSUPP, "not in this test"});
    }
  }

  std::uint32_t entries = 0;
};

class NoMore final : public Dump {
 public:
  Result<Step> next(netlink::Writer&, std::size_t) override { return Step::done; }
};

/// Counts rules, remembers nothing else.
class Tables final : public Subsystem, public Batches {
 public:
  std::uint8_t id() const override { return NFNL_SUBSYS_NFTABLES; }
  bool is_change(std::uint8_t) const override { return false; }
  Batches* batches() override { return this; }

  Result<void> handle(const Request& request, Reply& reply) override {
    if (request.is_dump()) return reply.start_dump(std::make_unique<NoMore>());
    if (request.message.number() != NFT_MSG_GETGEN) {
      return std::unexpected(Error{ENOENT, "nothing is here"});
    }
    reply.writer().begin(request.answer(NFT_MSG_NEWGEN));
    reply.writer().put_be32(NFTA_GEN_ID, generation_);
    reply.writer().end();
    return {};
  }

  bool takes(std::uint8_t number) const override { return number < NFT_MSG_GETGEN; }
  std::uint32_t generation() const override { return generation_; }
  Result<void> apply(const Request& request) override {
    ++open;
    if (request.message.number() != NFT_MSG_NEWRULE) return {};
    if (refuses_rules) {
      for (const netlink::Attribute& attribute : request.message.attributes()) {
        if (attribute.type() == NFTA_RULE_CHAIN) {
          return std::unexpected(attribute.error(ENOENT, "no such chain"));
        }
      }
    }
    ++open_rules;
    return {};
  }
  Result<void> commit(const Request&) override {
    rules += open_rules;
    ++generation_;
    abort();
    return {};
  }
  Result<void> check_and_abort() override {
    ++checks;
    abort();
    return {};
  }
  void abort() override { open = open_rules = 0; }

  int rules = 0, open = 0, open_rules = 0, checks = 0;
  bool refuses_rules = false;

 private:
  std::uint32_t generation_ = 1;
};

class Tools : public ::testing::Test {
 protected:
  Tools() : socket_(directory_.file("weir.sock")), thread_({.socket_path = socket_}) {
    thread_.server().add(conntrack_);
    thread_.server().add(tables_);
  }

  Output tool(const std::string& command) { return run_tool(socket_, command); }

  TemporaryDirectory directory_;
  std::string socket_;
  Conntrack conntrack_;
  Tables tables_;
  ServerThread thread_;
};

TEST_F(Tools, ConntrackCounts) {
  conntrack_.entries = 4711;
  thread_.start();
  const Output output = tool("conntrack -C");
  EXPECT_EQ(output.status, 0);
  EXPECT_EQ(output.text, "4711\n");
}

TEST_F(Tools, ConntrackListsALongDumpWhole) {
  conntrack_.entries = 60000;
  thread_.start();
  const Output output = tool("conntrack -L 2>/dev/null | sort -u | wc -l");
  EXPECT_EQ(output.text, "60000\n");
  const Output line = tool("conntrack -L 2>/dev/null | grep sport=59999");
  EXPECT_EQ(
      line.text,
      "udp      17 30 src=10.0.0.1 dst=10.0.0.2 sport=59999 dport=53 [UNREPLIED] src=10.0.0.1 "
      "dst=10.0.0.2 sport=59999 dport=53\n");
}

TEST_F(Tools, ConntrackFlushesAndReportsWhatIsRefused) {
  conntrack_.entries = 5;
  thread_.start();
  EXPECT_EQ(tool("conntrack -F").status, 0);
  EXPECT_EQ(tool("conntrack -C").text, "0\n");
  const Output refused = tool("conntrack -I -p udp -s 1.2.3.4 -d 5.6.7.8 --sport 1 --dport 2 -t 9");
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.text.find("not supported"), std::string::npos) << refused.text;
}

TEST_F(Tools, NftCommitsABatchWhole) {
  thread_.start();
  const std::string file = directory_.file("rules.nft");
  std::string rules = "table ip t {\n chain c {\n";
  for (int i = 0; i < 3000; ++i)
    rules += "  tcp dport " + std::to_string(1 + i) + " counter accept\n";
  rules += " }\n}\n";
  std::FILE* out = std::fopen(file.c_str(), "w");
  std::fwrite(rules.data(), 1, rules.size(), out);
  std::fclose(out);
  const Output output = tool("nft -f " + file);
  EXPECT_EQ(output.status, 0) << output.text;
  thread_.stop();
  EXPECT_EQ(tables_.rules, 3000);
}

TEST_F(Tools, NftCheckChangesNothing) {
  thread_.start();
  EXPECT_EQ(tool("nft -c add rule ip t c accept").status, 0);
  thread_.stop();
  EXPECT_EQ(tables_.rules, 0);
  EXPECT_EQ(tables_.checks, 1);
}

TEST_F(Tools, NftPutsItsCaretWhereTheErrorIs) {
  tables_.refuses_rules = true;
  thread_.start();
  const Output output = tool("nft add rule ip t chain4711 accept");
  EXPECT_EQ(output.status, 1);
  EXPECT_EQ(output.text,
            "Error: Could not process rule: No such file or directory\n"
            "add rule ip t chain4711 accept\n"
            "              ^^^^^^^^^\n");
}

TEST_F(Tools, NftListsAnEmptyRuleset) {
  thread_.start();
  const Output output = tool("nft list ruleset");
  EXPECT_EQ(output.status, 0);
  EXPECT_EQ(output.text, "");
}

TEST_F(Tools, ConntrackPrintsEvents) {
  thread_.start();
  std::thread publisher([&] {
    bool is_heard = false;
    while (!is_heard) {
      thread_.post([&] {
        if (!thread_.server().has_listeners(NFNLGRP_CONNTRACK_NEW)) return;
        netlink::Buffer buffer;
        netlink::Writer writer(buffer);
        FlowDump flow({.type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
                       .flags = NLM_F_CREATE | NLM_F_EXCL,
                       .family = AF_INET},
                      1);
        ASSERT_TRUE(flow.next(writer, 1000));
        thread_.server().publish({.group = NFNLGRP_CONNTRACK_NEW, .datagram = buffer});
        is_heard = true;
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  const Output output = tool("timeout -s INT 1 conntrack -E -o timestamp; true");
  publisher.join();
  EXPECT_NE(output.text.find("[NEW] udp      17 30 src=10.0.0.1"), std::string::npos)
      << output.text;
}

TEST_F(Tools, AnOrdinaryUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  conntrack_.entries = 3;
  thread_.start();
  const std::string copy = directory_.file("libweir-preload.so");
  run("cp " + preload_library() + " " + copy + "; chmod 755 " + directory_.file(""));
  const Output output = run("WEIR_SOCKET=" + socket_ + " LD_PRELOAD=" + copy +
                            " setpriv --reuid 65534 --regid 65534 --clear-groups conntrack -C");
  EXPECT_EQ(output.status, 1);
  EXPECT_NE(output.text.find("you must be root"), std::string::npos) << output.text;
}

TEST_F(Tools, AToolSaysWhenNoEngineIsThere) {
  const Output output = run_tool(directory_.file("nothing"), "conntrack -C");
  EXPECT_NE(output.status, 0);
  EXPECT_NE(output.text.find("no engine answers at"), std::string::npos) << output.text;
}

}  // namespace
}  // namespace weir::control::testing
