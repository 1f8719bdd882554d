#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::daemon {

/// How a number of `weir stats` is called in Prometheus' world.
struct Metric {
  enum class Kind : unsigned char { counter, gauge };

  std::string_view stat;   // "port.*.rx_packets"; "*" stands for one word, the label's value.
  std::string_view name;   // "weir_port_receive_packets_total"
  std::string_view label;  // "port"; empty without a "*".
  Kind kind = Kind::counter;
  std::string_view help;
  double unit = 1;  // What to multiply the number with: 1e-9 makes seconds of nanoseconds.
};

/// All of them, metrics of one name together.
std::span<const Metric> metrics();

/// A number's metric and the value of its label.
struct MetricOf {
  const Metric* metric;
  std::string_view label;  // Part of the name that was asked for.
};

/// Nothing when the number is not exported.
std::optional<MetricOf> metric_of(std::string_view stat);

}  // namespace weir::daemon
