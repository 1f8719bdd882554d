#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rules/context.h"
#include "rules/ct_objects.h"
#include "rules/expr/counter.h"
#include "rules/expression.h"
#include "rules/hook.h"
#include "rules/registers.h"
#include "rules/ruleset.h"
#include "rules/set_state.h"

namespace weir::rules {

/// What named objects of a table are found by: names are unique within a type only.
std::string object_key(std::uint32_t type, std::string_view name);

/// A named counter, quota, limit, ct helper or ct expectation, which many rules and set elements
/// share. The values of `type` are NFT_OBJECT_*.
class Object {
 public:
  /// Reads NFTA_OBJ_DATA as the type's NFTA_COUNTER_*, NFTA_QUOTA_* and so on. `family` is the
  /// table's. Errors: what they say; EOPNOTSUPP for types that weir doesn't have, naming them.
  static Result<std::shared_ptr<Object>> parse(std::uint32_t type, netlink::Region data,
                                               Family family, Ruleset& ruleset);

  Object(std::uint32_t type, std::size_t workers, const Tally& tally, const State& state,
         std::unique_ptr<CtObject> ct)
      : type(type), counter_(workers, tally), state_(state), ct_(std::move(ct)) {}

  std::string name;
  std::uint64_t handle = 0;
  Table* table = nullptr;
  const std::uint32_t type;
  std::uint32_t use =
      0;  // Rules and set elements that refer to it; nonzero refuses deletion with EBUSY.
  std::vector<std::uint8_t> userdata;

  std::string key() const { return object_key(type, name); }

  /// On the packet's path.
  void eval(Registers& registers, Context& context);
  /// The attributes of NFTA_OBJ_DATA.
  void dump(netlink::Writer& writer, DumpMode mode);
  /// True once each time that a quota has been used up since the last call, for the event that says
  /// so.
  bool take_depleted();

 private:
  WorkerCounter counter_;
  State state_;
  std::unique_ptr<CtObject> ct_;  // Of the types that begin with ct; null for the others.
};

/// Lists a new object and allots its handle. The name must be free among objects of its type.
Object& add_object(Ruleset& ruleset, Transaction& transaction, Table& table,
                   std::shared_ptr<Object> object);

}  // namespace weir::rules
