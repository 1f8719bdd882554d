#include "rules/set_element.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::rules {

BodyLayout BodyLayout::make(std::uint16_t data_bytes, bool is_verdict, bool is_object,
                            std::uint16_t states) {
  const std::size_t value = is_verdict ? sizeof(Verdict) : is_object ? sizeof(Object*) : data_bytes;
  const auto states_at = static_cast<std::uint16_t>((kDataAt + value + 7) / 8 * 8);
  return {.is_verdict = is_verdict,
          .is_object = is_object,
          .data_bytes = data_bytes,
          .states_at = states_at,
          .state_count = states,
          .bytes = static_cast<std::uint16_t>(states_at + states * sizeof(State))};
}

void Body::set_value(Bytes value) {
  std::memcpy(at_ + BodyLayout::kDataAt, value.data(),
              std::min<std::size_t>(value.size(), layout_->data_bytes));
}

void Body::set_states(std::span<const State> states) {
  const auto room = this->states();
  for (std::size_t i = 0; i < states.size() && i < room.size(); ++i) room[i] = states[i];
}

void Body::hold() const {
  const ElementExtra* const it = extra();
  if (!it) return;
  it->target.hold();
  if (it->object) ++it->object->use;
}

void Body::release() const {
  const ElementExtra* const it = extra();
  if (!it) return;
  it->target.release();
  if (it->object) --it->object->use;
}

RangeElement::RangeElement(const BodyLayout& layout, std::vector<std::uint8_t> its_key,
                           std::vector<std::uint8_t> its_end, std::uint32_t its_flags)
    : key(std::move(its_key)),
      key_end(std::move(its_end)),
      flags(its_flags),
      memory_(new std::uint64_t[layout.bytes / 8]()),
      body(reinterpret_cast<std::uint8_t*>(memory_.get()), layout) {}

bool RangeElement::is_end() const { return flags & NFT_SET_ELEM_INTERVAL_END; }

}  // namespace weir::rules
