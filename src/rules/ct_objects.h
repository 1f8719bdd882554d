#pragma once

#include <memory>

#include "base/error.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/context.h"
#include "rules/hook.h"
#include "rules/registers.h"

namespace weir::rules {

/// A named object that does something to connections and has no state of its own.
class CtObject {
 public:
  virtual ~CtObject() = default;
  virtual void eval(Registers& registers, Context& context) const = 0;
  /// The attributes of NFTA_OBJ_DATA.
  virtual void dump(netlink::Writer& writer) const = 0;
};

/// `ct helper`: the connection that the packet begins gets the helper. Errors
/// (nft_ct_helper_obj_init): EINVAL, EAFNOSUPPORT; ENOENT when there is no such helper.
Result<std::unique_ptr<CtObject>> parse_ct_helper(netlink::Region data, Family family);

/// `ct expectation`: the packet's connection expects one to the given port of its client. Errors
/// (nft_ct_expect_obj_init): EINVAL, EAFNOSUPPORT; EOPNOTSUPP for protocols without ports.
Result<std::unique_ptr<CtObject>> parse_ct_expectation(netlink::Region data, Family family);

}  // namespace weir::rules
