#include "daemon/explain_ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/exit_code.h"
#include "io/choose.h"

namespace weir::daemon {
namespace {

using Row = std::array<std::string, 6>;

Row explain(const PortSettings& port, bool& is_possible) {
  const auto facts = io::read_device_facts(port.device);
  if (!facts) {
    is_possible = false;
    return {port.name, port.device, "-", "-", "-", facts.error().text};
  }
  const auto choice = io::choose(*facts, {.driver = port.driver, .tx = port.tx});
  const std::string queues = std::to_string(facts->rx_queues);
  if (!choice) {
    is_possible = false;
    return {port.name, port.device, queues, "-", "-", choice.error().text};
  }
  const bool is_xdp = choice->driver == io::Driver::af_xdp;
  return {port.name,
          port.device,
          queues,
          std::string(io::name_of(choice->driver)),
          is_xdp ? std::string(io::name_of(choice->transmit)) : "-",
          is_xdp ? choice->why + "; tx: " + choice->transmit_why : choice->why};
}

}  // namespace

int explain_ports(const std::vector<PortSettings>& ports) {
  bool is_possible = true;
  std::vector<Row> rows = {{"PORT", "DEVICE", "QUEUES", "DRIVER", "TX", "WHY"}};
  for (const PortSettings& port : ports) rows.push_back(explain(port, is_possible));
  std::array<std::size_t, 5> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) fmt::print("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", row.back());
  }
  return is_possible ? kDone : kRefused;
}

}  // namespace weir::daemon
