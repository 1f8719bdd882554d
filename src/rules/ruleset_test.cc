#include "rules/ruleset.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <memory>

#include "netlink/message.h"
#include "rules/compiled.h"
#include "rules/edit.h"
#include "rules/expr/immediate.h"

namespace weir::rules {
namespace {

class RulesetTest : public ::testing::Test {
 protected:
  RulesetTest() : transaction_(ruleset_.begin()) {
    auto table = std::make_shared<Table>();
    table->name = "t";
    table->family = Family::inet;
    table_ = &add_table(ruleset_, transaction_, table);
  }

  Chain& chain(const char* name, std::optional<BaseChain> base = {}) {
    auto made = std::make_shared<Chain>();
    made->name = name;
    made->base = std::move(base);
    return add_chain(ruleset_, transaction_, *table_, made);
  }
  Chain& base(const char* name, std::int32_t priority, VerdictCode policy = VerdictCode::accept) {
    return chain(
        name,
        BaseChain{.hook = Hook::forward, .priority = priority, .policy = policy, .devices = {}});
  }

  /// A rule that says the verdict, in the bytes that nft sends.
  Rule& rule(Chain& chain, VerdictCode code, const char* target = nullptr, RulePlace place = {}) {
    netlink::Buffer buffer;
    netlink::Writer writer(buffer);
    writer.begin({});
    writer.put_be32(NFTA_IMMEDIATE_DREG, std::uint32_t{NFT_REG_VERDICT});
    {
      const auto data = writer.nest_plain(NFTA_IMMEDIATE_DATA);
      const auto verdict = writer.nest_plain(NFTA_DATA_VERDICT);
      writer.put_be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code));
      if (target) writer.put_string(NFTA_VERDICT_CHAIN, target);
    }
    writer.end();
    Bytes rest = buffer;
    const auto message = netlink::Message::take(rest);
    ParseContext context{.ruleset = ruleset_, .transaction = transaction_, .table = *table_};
    auto made = std::make_shared<Rule>();
    made->handle = table_->next_handle();
    made->expressions.push_back(std::move(*kImmediate.parse(message->attributes(), context)));
    return add_rule(ruleset_, transaction_, chain, made, place);
  }

  Result<void> commit() {
    auto result = ruleset_.commit(transaction_);
    transaction_ = ruleset_.begin();
    return result;
  }
  void abort() {
    ruleset_.abort(transaction_);
    transaction_ = ruleset_.begin();
  }

  VerdictCode run(Family family = Family::ip) {
    packet_ = {};
    packet_.family = family == Family::ip ? wire::Family::ip : wire::Family::ip6;
    Context context{.packet = &packet_, .hook = Hook::forward};
    return ruleset_.running()->run(context, priority::kFirst, priority::kLast).code;
  }

  Epochs epochs_{1};
  Ruleset ruleset_{epochs_};
  Transaction transaction_;
  Table* table_ = nullptr;
  packet::Packet packet_;
};

TEST_F(RulesetTest, PolicyDecidesWhatRulesDoNot) {
  Chain& forward = base("f", 0, VerdictCode::drop);
  ASSERT_TRUE(commit());
  EXPECT_EQ(run(), VerdictCode::drop);
  EXPECT_EQ(packet_.drop, packet::Drop::chain_policy);
  rule(forward, VerdictCode::accept);
  EXPECT_EQ(run(Family::ip6), VerdictCode::drop) << "not committed yet";
  ASSERT_TRUE(commit());
  EXPECT_EQ(run(Family::ip6), VerdictCode::accept);
}

TEST_F(RulesetTest, JumpReturnsAndGotoDoesNot) {
  Chain& forward = base("f", 0);
  chain("a");
  rule(forward, VerdictCode::jump, "a");
  rule(forward, VerdictCode::drop);
  ASSERT_TRUE(commit());
  EXPECT_EQ(run(), VerdictCode::drop);
  rule(forward, VerdictCode::go_to, "a", {.where = RulePlace::Where::first});
  ASSERT_TRUE(commit());
  EXPECT_EQ(run(), VerdictCode::accept);
}

TEST_F(RulesetTest, ChainsRunByPriorityAndTheNewerFirst) {
  base("late", 10, VerdictCode::drop);
  ASSERT_TRUE(commit());
  const CompiledRuleset& running = *ruleset_.running();
  EXPECT_TRUE(running.has_chains(Family::ip, Hook::forward, 10, 11));
  EXPECT_FALSE(running.has_chains(Family::ip, Hook::forward, -100, 10));
  EXPECT_FALSE(running.has_chains(Family::ip, Hook::input, priority::kFirst, priority::kLast));
  Context context{.packet = &packet_, .hook = Hook::forward};
  packet_.family = wire::Family::ip;
  EXPECT_TRUE(running.run(context, 11, priority::kLast).is_accept());
  EXPECT_FALSE(running.run(context, 10, 11).is_accept());
}

TEST_F(RulesetTest, AbortTakesBackEverything) {
  Chain& forward = base("f", 0);
  Rule& first = rule(forward, VerdictCode::drop);
  ASSERT_TRUE(commit());
  const std::uint64_t generation = ruleset_.generation();

  chain("a");
  rule(forward, VerdictCode::jump, "a");
  delete_rule(ruleset_, transaction_, first);
  delete_table(ruleset_, transaction_, *table_);
  EXPECT_EQ(ruleset_.find_table(Family::inet, "t"), nullptr);
  abort();

  ASSERT_EQ(ruleset_.find_table(Family::inet, "t"), table_);
  EXPECT_EQ(table_->chains.find("a"), nullptr);
  EXPECT_EQ(forward.find_rule(first.handle), &first);
  EXPECT_EQ(forward.use, 1u);
  EXPECT_EQ(table_->use, 1u);
  EXPECT_EQ(ruleset_.generation(), generation);
  EXPECT_EQ(run(), VerdictCode::drop);
}

TEST_F(RulesetTest, ABoundChainComesAndGoesWithItsRule) {
  Chain& forward = base("f", 0);
  ASSERT_TRUE(commit());
  const auto bind = [&]() -> Rule& {
    Chain& bound = chain("b");
    bound.flags = NFT_CHAIN_BINDING;
    rule(bound, VerdictCode::drop);
    return rule(forward, VerdictCode::jump, "b");
  };
  bind();
  abort();
  EXPECT_EQ(table_->use, 1u);
  EXPECT_EQ(forward.use, 0u);

  Rule& jump = bind();
  ASSERT_TRUE(commit());
  EXPECT_EQ(run(), VerdictCode::drop);
  EXPECT_EQ(table_->use, 2u);
  delete_rule(ruleset_, transaction_, jump);
  EXPECT_EQ(table_->chains.find("b"), nullptr);
  abort();
  EXPECT_NE(table_->chains.find("b"), nullptr);
  EXPECT_EQ(table_->use, 2u);
}

TEST_F(RulesetTest, LoopsAndDeepChainsAreRefused) {
  Chain& forward = base("f", 0);
  Chain& a = chain("a");
  Chain& b = chain("b");
  rule(forward, VerdictCode::jump, "a");
  rule(a, VerdictCode::jump, "b");
  ASSERT_TRUE(commit());
  rule(b, VerdictCode::jump, "a");
  const auto refused = commit();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EMLINK);
  EXPECT_EQ(b.use, 1u);
}

TEST_F(RulesetTest, AChainInUseIsNotDeleted) {
  Chain& forward = base("f", 0);
  Chain& a = chain("a");
  rule(forward, VerdictCode::jump, "a");
  ASSERT_TRUE(commit());
  const auto refused = delete_chain(ruleset_, transaction_, a);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EBUSY);
}

TEST_F(RulesetTest, TheOldRulesetLivesUntilWorkersAreQuiet) {
  base("f", 0, VerdictCode::drop);
  ASSERT_TRUE(commit());
  epochs_.online(0);
  const CompiledRuleset* old = ruleset_.running();
  delete_table(ruleset_, transaction_, *table_);
  ASSERT_TRUE(commit());
  packet_.family = wire::Family::ip;
  Context context{.packet = &packet_, .hook = Hook::forward};
  EXPECT_FALSE(old->run(context, priority::kFirst, priority::kLast).is_accept());
  EXPECT_EQ(run(), VerdictCode::accept);
  epochs_.quiet(0);
  ruleset_.collect();
  epochs_.offline(0);
}

}  // namespace
}  // namespace weir::rules
