#include "helpers/list.h"

#include <array>
#include <cstddef>

#include "helpers/ftp.h"
#include "helpers/tftp.h"

namespace weir::helpers {
namespace {

const Ftp kFtp;
const Tftp kTftp;

/// New ones at the end: numbers outlive a restart of the engine.
constexpr std::array<const Helper*, 2> kHelpers = {&kFtp, &kTftp};

}  // namespace

const Helper* find(std::uint16_t number) {
  return number == 0 || number > kHelpers.size() ? nullptr : kHelpers[number - 1];
}

std::uint16_t number_of(std::string_view name, std::uint8_t protocol) {
  for (std::size_t i = 0; i < kHelpers.size(); ++i) {
    if (kHelpers[i]->name() == name && kHelpers[i]->protocol() == protocol) {
      return static_cast<std::uint16_t>(i + 1);
    }
  }
  return 0;
}

std::string_view name_of(std::uint16_t number) {
  const Helper* const helper = find(number);
  return helper == nullptr ? std::string_view() : helper->name();
}

}  // namespace weir::helpers
