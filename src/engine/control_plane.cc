#include "engine/control_plane.h"

#include <algorithm>

namespace weir::engine {
namespace {

/// Events that are published between two looks at the tools' requests.
constexpr std::size_t kEventBudget = 4096;
/// How long events may wait for each other while somebody listens.
constexpr Duration kEventWait = std::chrono::milliseconds(1);

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::open(Engine& engine,
                                                         const control::Server::Options& options,
                                                         std::function<Time()> now) {
  auto server = control::Server::open(options);
  if (!server) return std::unexpected(server.error());
  return std::unique_ptr<ControlPlane>(new ControlPlane(engine, std::move(*server), now));
}

Result<std::unique_ptr<ControlPlane>> ControlPlane::adopt(Engine& engine,
                                                          const control::Server::Options& options,
                                                          control::Listener listener,
                                                          std::function<Time()> now) {
  auto server = control::Server::adopt(options, std::move(listener));
  if (!server) return std::unexpected(server.error());
  return std::unique_ptr<ControlPlane>(new ControlPlane(engine, std::move(*server), now));
}

ControlPlane::ControlPlane(Engine& engine, std::unique_ptr<control::Server> server,
                           std::function<Time()> now)
    : engine_(engine),
      server_(std::move(server)),
      nftables_(engine.rules(), *server_),
      ctnetlink_(engine.conntrack(), engine.control_participant(), now, &engine.nat()),
      expectations_(engine.conntrack(), engine.control_participant(), now),
      events_(engine.conntrack(), *server_, now),
      cttimeout_(engine.conntrack(), engine.control_participant(), now),
      expectation_events_(engine.conntrack(), *server_, now),
      own_(engine, engine) {
  ctnetlink_.set_events(&events_);
  server_->add(nftables_);
  server_->add(ctnetlink_);
  server_->add(cttimeout_);
  server_->add(expectations_);
  server_->add(cthelper_);
  server_->add(own_);
}

void ControlPlane::serve_once(Duration wait) {
  if (engine_.conntrack().wanted_events() != 0 || engine_.conntrack().expectations().is_wanted())
    wait = std::min(wait, has_more_events_ ? Duration{} : kEventWait);
  server_->serve_once(wait);
  expectation_events_.publish(kEventBudget);
  has_more_events_ = events_.publish(kEventBudget) == kEventBudget;
  engine_.control_turn();
}

}  // namespace weir::engine
