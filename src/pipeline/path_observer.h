#pragma once

#include "packet/packet.h"
#include "rules/compiled.h"

namespace weir::pipeline {

/// Is told what becomes of packets on a worker's path, beside what rules do to them.
class PathObserver : public rules::Observer {
 public:
  /// The path drops the packet, whoever decided it, and is about to release it.
  virtual void on_drop(const packet::Packet& packet, packet::Drop reason) = 0;
};

}  // namespace weir::pipeline
