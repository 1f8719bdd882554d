#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/epoch.h"
#include "control/nftables/nftables.h"
#include "netlink/message.h"
#include "rules/ruleset.h"

/// What the kernel answered to nft, byte for byte: tests/golden/nftables holds recorded
/// conversations. What nft sent goes into the subsystem, and each message that comes out must be
/// the kernel's but for the port id.
namespace weir::control {
namespace {

using Octets = std::vector<std::uint8_t>;

struct Line {
  bool is_request = false;
  Octets bytes;
};

std::vector<Line> read_conversation(const std::string& name) {
  const std::filesystem::path here = __FILE__;
  std::ifstream file(here.parent_path() / "../../../tests/golden/nftables" / name);
  std::vector<Line> lines;
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with('#') || text.size() < 2) continue;
    Line line{.is_request = text[0] == '>', .bytes = {}};
    for (std::size_t i = 2; i + 1 < text.size(); i += 2) {
      line.bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

/// The nf_tables messages of a datagram, without port id, and without NEWGEN, which names a
/// process.
void split(Bytes datagram, std::vector<Octets>& messages) {
  while (const auto message = netlink::Message::take(datagram)) {
    if (message->subsystem() != NFNL_SUBSYS_NFTABLES || message->number() == NFT_MSG_NEWGEN)
      continue;
    Octets bytes(message->bytes().begin(), message->bytes().end());
    std::fill(bytes.begin() + 12, bytes.begin() + 16, std::uint8_t{0});
    messages.push_back(std::move(bytes));
  }
}

class Deaf final : public Publisher {
 public:
  bool has_listeners(std::uint32_t) const override { return false; }
  int publish(const Notice&) override { return 0; }
};

/// Runs a dump to its end at once, as a server with a fast reader would.
class Collector final : public Reply {
 public:
  netlink::Writer& writer() override { return writer_; }
  Result<void> start_dump(std::unique_ptr<Dump> dump) override {
    for (;;) {
      const std::size_t before = buffer.size();
      const auto step = dump->next(writer_, 3700);
      if (!step) return std::unexpected(step.error());
      if (buffer.size() > before) buffer[before + 6] |= NLM_F_MULTI;
      if (*step == Dump::Step::done) return {};
    }
  }
  netlink::Buffer buffer;

 private:
  netlink::Writer writer_{buffer};
};

TEST(NftablesGolden, AnswersAsTheKernelDid) {
  Epochs epochs(1);
  rules::Ruleset ruleset(epochs);
  Deaf publisher;
  Nftables nftables(ruleset, publisher);
  Collector ours;
  std::vector<Octets> theirs;
  const auto lines = read_conversation("gateway.txt");
  ASSERT_FALSE(lines.empty());
  for (const Line& line : lines) {
    if (!line.is_request) {
      split(line.bytes, theirs);
      continue;
    }
    Bytes rest = line.bytes;
    while (const auto message = netlink::Message::take(rest)) {
      const Request request{.message = *message, .peer = {}, .port_id = 0, .may_change = true};
      Result<void> result;
      if (message->header().nlmsg_type == NFNL_MSG_BATCH_END) {
        result = nftables.batches()->commit(request);
      } else if (message->header().nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
        continue;
      } else if (nftables.batches()->takes(message->number())) {
        result = nftables.batches()->apply(request);
      } else {
        result = nftables.handle(request, ours);
      }
      ASSERT_TRUE(result) << result.error().text;
    }
  }
  std::vector<Octets> answered;
  split(ours.buffer, answered);
  ASSERT_EQ(answered.size(), theirs.size());
  ASSERT_GT(theirs.size(), 10u);
  for (std::size_t i = 0; i < theirs.size(); ++i)
    EXPECT_EQ(answered[i], theirs[i]) << "message " << i;
}

}  // namespace
}  // namespace weir::control
