#pragma once

#include "helpers/helper.h"
#include "packet/packet.h"
#include "rules/compiled.h"

namespace weir::pipeline {

/// Is told what becomes of packets on a worker's path, beside what rules do to them.
class PathObserver : public rules::Observer {
 public:
  /// The path drops the packet, whoever decided it, and is about to release it.
  virtual void on_drop(const packet::Packet& packet, packet::Drop reason) = 0;
  /// The connection's helper has found something in the packet, which is not rewritten yet.
  virtual void on_findings(const packet::Packet& packet, const helpers::Helper& helper,
                           const nat::Findings& findings) = 0;
};

}  // namespace weir::pipeline
