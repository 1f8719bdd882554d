#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/epoch.h"

namespace weir::routing {

/// Memory that readers may still see, until their epochs have passed. The writer's, used by its
/// thread. Without epochs there are no concurrent readers (replay, tests), and memory is freed at
/// once.
class Retired {
 public:
  explicit Retired(Epochs* epochs) : epochs_(epochs) {}
  ~Retired() {
    free(open_);
    for (Lot& lot : lots_) free(lot.memory);
  }
  Retired(const Retired&) = delete;
  Retired& operator=(const Retired&) = delete;

  /// Takes memory that no reader can reach any more from now on.
  void add(const void* memory, void (*release)(const void*)) {
    if (epochs_ == nullptr) return release(memory);
    open_.emplace_back(memory, release);
  }
  template <typename T>
  void add(const T* object) {
    add(object, [](const void* memory) { delete static_cast<const T*>(memory); });
  }

  /// Frees what nobody can see any more.
  void collect() {
    if (!open_.empty()) lots_.push_back({epochs_->advance(), std::exchange(open_, {})});
    while (!lots_.empty() && epochs_->reached(lots_.front().tag)) {
      free(lots_.front().memory);
      lots_.pop_front();
    }
  }
  std::size_t lot_count() const { return lots_.size(); }

 private:
  using Memory = std::vector<std::pair<const void*, void (*)(const void*)>>;
  struct Lot {
    std::uint64_t tag;
    Memory memory;
  };
  static void free(const Memory& memory) {
    for (const auto& [at, release] : memory) release(at);
  }

  Epochs* epochs_;
  Memory open_;           // Unlinked since the last collect().
  std::deque<Lot> lots_;  // Waiting for their tags, in order.
};

}  // namespace weir::routing
