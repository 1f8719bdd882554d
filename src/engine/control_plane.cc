#include "engine/control_plane.h"

namespace weir::engine {

Result<std::unique_ptr<ControlPlane>> ControlPlane::open(Engine& engine, const control::Server::Options& options) {
  auto server = control::Server::open(options);
  if (!server) return std::unexpected(server.error());
  return std::unique_ptr<ControlPlane>(new ControlPlane(engine, std::move(*server)));
}

ControlPlane::ControlPlane(Engine& engine, std::unique_ptr<control::Server> server)
    : engine_(engine), server_(std::move(server)), nftables_(engine.rules(), *server_), own_(engine) {
  server_->add(nftables_);
  server_->add(own_);
}

void ControlPlane::serve_once(Duration wait) {
  server_->serve_once(wait);
  engine_.control_turn();
}

}  // namespace weir::engine
