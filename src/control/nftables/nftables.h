#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/server/subsystem.h"
#include "rules/ruleset.h"

namespace weir::control {

/// Somebody who keeps what is committed.
class CommitObserver {
 public:
  virtual ~CommitObserver() = default;
  /// The ruleset is another now. On the control thread, before the tool has its answer.
  virtual void on_commit() = 0;
};

/// NFNL_SUBSYS_NFTABLES: the rules of the engine, as nft and other users of nf_tables see them.
/// Which message does what stands in handlers.cc.
class Nftables final : public Subsystem, private Batches {
 public:
  /// Both must outlive it.
  Nftables(rules::Ruleset& ruleset, Publisher& publisher)
      : ruleset_(ruleset), publisher_(publisher) {}

  /// The one who is told of commits, or null.
  void set_observer(CommitObserver* observer) { observer_ = observer; }

  std::uint8_t id() const override { return NFNL_SUBSYS_NFTABLES; }
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;
  Batches* batches() override { return this; }

 private:
  bool takes(std::uint8_t number) const override;
  std::uint32_t generation() const override {
    return static_cast<std::uint32_t>(ruleset_.generation());
  }
  Result<void> apply(const Request& request) override;
  Result<void> apply_checked(const Request& request) override;
  Result<void> commit(const Request& request) override;
  Result<void> check_and_abort() override;
  void abort() override;

  void publish(const rules::Transaction& transaction);
  void publish_generation(const Request& request);

  rules::Ruleset& ruleset_;
  Publisher& publisher_;
  CommitObserver* observer_ = nullptr;
  std::optional<rules::Transaction> transaction_;  // Open while a batch is.
  rules::Requester first_;  // The batch's first message: its NEWGEN answers that.
};

}  // namespace weir::control
