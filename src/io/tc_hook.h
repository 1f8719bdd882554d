#pragma once

#include <bpf/libbpf.h>

#include <cstdint>

#include "base/error.h"

namespace weir::io {

/// weir's filters in the clsact qdisc of one device. They are known by their priority, and their
/// handle says whether the qdisc was weir's to make: what a later engine, or `weir cleanup`, has to
/// know to remove no qdisc of somebody else.
class TcHook {
 public:
  explicit TcHook(std::uint32_t ifindex) : ifindex_(ifindex) {}

  /// Makes the qdisc if need be.
  Result<void> create();
  /// Attaches, or replaces what is there without a moment without a program.
  Result<void> attach(bpf_tc_attach_point point, const bpf_program* program);
  /// Removes those filters that attach() made and nobody has replaced; then the qdisc, when it is
  /// weir's and empty.
  void detach();

  /// Whether there are filters of any weir engine; learns whose the qdisc is.
  bool find();
  bool has_own_qdisc() const { return is_ours_; }
  /// Whether create() has found any.
  bool has_replaced_others() const { return has_replaced_others_; }
  /// Removes what find() has found.
  void remove();

 private:
  bpf_tc_hook hook_of(bpf_tc_attach_point point) const;
  std::uint32_t program_at(bpf_tc_attach_point point, std::uint32_t handle) const;
  std::uint32_t handle() const;
  void remove_filter(bpf_tc_attach_point point);
  void remove_empty_qdisc();

  std::uint32_t ifindex_;
  bool is_ours_ = false;
  bool has_replaced_others_ = false;
  std::uint32_t attached_[2] = {0, 0};  // Program ids: ingress, egress.
};

}  // namespace weir::io
