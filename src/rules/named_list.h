#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::rules {

/// Hash and equality that let string keys be looked up by string_view.
struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const {
    return std::hash<std::string_view>{}(name);
  }
};

/// The things of one kind that a table (or the ruleset) holds, in the order of their creation,
/// found by name or handle. Control thread only.
///
/// Transactions need to take back what they did. So removal has two steps: `hide` takes an item out
/// of all look-ups and iteration but keeps its place; then either `show` puts it back as if nothing
/// had happened, or the commit's `purge` forgets it. A new item may take the name of a hidden one;
/// undoing in reverse order erases the new one before the old one is shown again.
///
/// T has a member `handle` (unique in the list) and a function `key()`: the name that it is found
/// by, constant while listed (more than the plain name where names are unique only within a type or
/// family).
template <typename T>
class NamedList {
 public:
  using Items = std::list<std::pair<std::shared_ptr<T>, bool>>;  // bool: is shown.

  T* find(std::string_view key) const {
    const auto at = by_name_.find(key);
    return at == by_name_.end() ? nullptr : at->second->first.get();
  }
  T* find_handle(std::uint64_t handle) const {
    const auto at = by_handle_.find(handle);
    return at == by_handle_.end() || !at->second->second ? nullptr : at->second->first.get();
  }
  /// The owner of an item of this list.
  std::shared_ptr<T> share(const T& item) const { return by_handle_.at(item.handle)->first; }

  void add(std::shared_ptr<T> item) {
    items_.emplace_back(std::move(item), true);
    const auto at = std::prev(items_.end());
    by_name_[std::string(at->first->key())] = at;
    by_handle_[at->first->handle] = at;
    ++count_;
  }
  void hide(const T& item) {
    const auto at = by_handle_.at(item.handle);
    if (!at->second) return;
    at->second = false;
    by_name_.erase(std::string(item.key()));
    hidden_.push_back(item.handle);
    --count_;
  }
  void show(const T& item) {
    const auto at = by_handle_.at(item.handle);
    if (at->second) return;
    at->second = true;
    by_name_[std::string(item.key())] = at;
    ++count_;
  }
  /// Forgets an item (undoing add); it lives on as long as somebody shares it.
  void erase(const T& item) {
    hide(item);
    erase_handle(item.handle);
  }
  /// Forgets what is hidden: the transaction holds. `each(T&)` is told first.
  template <typename Each>
  void purge(Each&& each) {
    for (const std::uint64_t handle : hidden_) {
      const auto at = by_handle_.find(handle);
      if (at == by_handle_.end() || at->second->second) continue;
      each(*at->second->first);
      erase_handle(handle);
    }
    hidden_.clear();
  }
  void purge() {
    purge([](T&) {});
  }
  bool is_shown(const T& item) const {
    const auto at = by_handle_.find(item.handle);
    return at != by_handle_.end() && at->second->second;
  }

  std::size_t count() const { return count_; }
  bool is_empty() const { return count_ == 0; }

  /// Calls `each(T&)` for what is shown, in order of creation.
  template <typename Each>
  void for_each(Each&& each) const {
    for (const auto& [item, is_shown] : items_) {
      if (is_shown) each(*item);
    }
  }

 private:
  void erase_handle(std::uint64_t handle) {
    const auto found = by_handle_.find(handle);
    const auto at = found->second;
    by_handle_.erase(found);
    items_.erase(at);
  }

  Items items_;
  std::unordered_map<std::string, typename Items::iterator, NameHash, std::equal_to<>> by_name_;
  std::unordered_map<std::uint64_t, typename Items::iterator> by_handle_;
  std::vector<std::uint64_t> hidden_;
  std::size_t count_ = 0;
};

}  // namespace weir::rules
