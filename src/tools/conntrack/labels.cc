#include "tools/conntrack/labels.h"

#include <fstream>
#include <sstream>

namespace weir::tools::conntrack {
namespace {

constexpr unsigned kMaxBit = 127;

}  // namespace

LabelNames LabelNames::load(const char* file) {
  LabelNames names;
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    unsigned bit = 0;
    std::string name;
    if (!(words >> bit >> name) || bit > kMaxBit) continue;
    names.bits_.emplace(name, bit);
    names.names_.emplace(bit, name);
  }
  return names;
}

std::optional<unsigned> LabelNames::bit(const std::string& name) const {
  const auto found = bits_.find(name);
  if (found == bits_.end()) return {};
  return found->second;
}

std::string LabelNames::name(unsigned bit) const {
  const auto found = names_.find(bit);
  return found == names_.end() ? std::string{} : found->second;
}

bool has_label(const Labels& labels, unsigned bit) {
  return bit / 8 < labels.size() && (labels[bit / 8] >> (bit % 8) & 1) != 0;
}

void set_label(Labels& labels, unsigned bit) {
  const std::size_t words = bit / 32 + 1;
  if (labels.size() < words * 4) labels.resize(words * 4);
  labels[bit / 8] |= static_cast<std::uint8_t>(1 << (bit % 8));
}

}  // namespace weir::tools::conntrack
