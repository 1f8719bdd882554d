#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/context.h"
#include "rules/hook.h"
#include "rules/registers.h"

namespace weir::rules {

class Chain;
class Expression;
struct Op;
class Ruleset;
class Set;
class Table;
class Transaction;

/// Where an expression stands when it is parsed: its rule's chain, or no chain for the expressions
/// of set elements. Sets and chains that the same batch has made are found in the transaction by
/// id.
struct ParseContext {
  Ruleset& ruleset;
  Transaction& transaction;
  Table& table;
  Chain* chain = nullptr;
};

/// One kind of expression: its name in NFTA_EXPR_NAME and how to make one. Constants of this type
/// stand beside their expression (`extern const ExpressionKind kCounter;`) and are listed in
/// expr/list.cc, nowhere else.
struct ExpressionKind {
  std::string_view name;
  /// Makes an expression from what NFTA_EXPR_DATA holds (checked against a schema by this function;
  /// an absent NFTA_EXPR_DATA is an empty region). Changes nothing outside the new object; that is
  /// hold()'s work. Errors: as the kernel's, with the offset of the attribute to blame; EOPNOTSUPP,
  /// naming it, for what weir can't do.
  Result<std::unique_ptr<Expression>> (*parse)(netlink::Region data,
                                               ParseContext& context) = nullptr;
  /// Has a state that packets change: it may stand in set elements (then clone() works), and takes
  /// part in GETRULE_RESET.
  bool is_stateful = false;
  /// Its dump has an NFTA_EXPR_DATA, be it empty; the kernel writes none for expressions that have
  /// nothing to say.
  bool has_data = true;
};

/// The kind of that name; null when there is none.
const ExpressionKind* find_expression_kind(std::string_view name);
/// All kinds that weir knows (expr/list.cc).
std::span<const ExpressionKind* const> expression_kinds();

/// What a walk over everything that a base chain reaches knows; see Expression::validate.
class Validation {
 public:
  virtual ~Validation() = default;
  Family family = Family::unspec;      // Of the table.
  const Chain* base = nullptr;         // The base chain that the walk came from.
  ChainType type = ChainType::filter;  // Of the base chain.
  std::uint32_t hooks = 0;             // Its hooks, as bits.
  /// Goes on into a chain that the expression jumps or goes to. Errors: EMLINK for a loop or a path
  /// of more than 16.
  virtual Result<void> enter(const Chain& chain) = 0;

  /// nft_chain_validate_hooks: EOPNOTSUPP when the base chain is at a hook outside `allowed` bits.
  Result<void> require_hooks(std::uint32_t allowed) const;
  /// nft_chain_validate_dependency: EOPNOTSUPP when the base chain has another type.
  Result<void> require_type(ChainType required) const;
};

/// How to dump an expression.
enum class DumpMode : std::uint8_t {
  keep,
  reset,  // Also zeroes its state: GETRULE_RESET and the like.
  save,   // Only what a request may say (control/nftables/save.h).
};

/// One expression of a rule, or of a set element. Constant after parsing, but for the state of
/// stateful ones (per worker or atomic: workers evaluate concurrently, control threads read
/// meanwhile).
///
/// Life: parse → hold (its rule becomes part of the ruleset, in a transaction) → eval by workers →
/// release (its rule is deleted, or the transaction that added it is undone) → possibly hold again
/// (the deletion is undone) → destroyed when no worker can see it any more.
class Expression {
 public:
  virtual ~Expression() = default;

  virtual const ExpressionKind& kind() const = 0;
  /// Works on the registers and the packet. To say "no match" it sets registers.verdict to
  /// VerdictCode::fail; the caller looks at the verdict after every expression and stops the rule
  /// unless it is `next`.
  virtual void eval(Registers& registers, Context& context) const = 0;
  /// Writes the attributes that stand in NFTA_EXPR_DATA (the caller opens the nest).
  virtual void dump(netlink::Writer& writer, DumpMode mode) const = 0;

  /// Takes and gives back what it refers to: use counts of sets, objects, chains; binding of
  /// anonymous ones (an anonymous set or chain leaves its table when the only rule that is bound to
  /// it is released, and returns with hold()).
  virtual void hold() {}
  virtual void release() {}
  /// The set that it binds, if any.
  virtual const Set* bound_set() const { return nullptr; }
  /// Says whether it may stand where the walk is, and enters the chains that it leads to. Called at
  /// commit.
  virtual Result<void> validate(Validation&) const { return {}; }
  /// Translates itself to one of the evaluator's own operations; false when it has none, then
  /// eval() is called.
  virtual bool compile(Op&) const { return false; }
  /// A new expression with fresh state, for a set element that a packet adds; null when not
  /// stateful.
  virtual std::unique_ptr<Expression> clone() const { return nullptr; }
};

/// Reads NFTA_LIST_ELEM or another nest of NFTA_EXPR_NAME and NFTA_EXPR_DATA. Errors: EOPNOTSUPP
/// for an unknown name, with a text that names it; what parse() says.
Result<std::unique_ptr<Expression>> parse_expression(const netlink::Attribute& nest,
                                                     ParseContext& context);
/// Writes name and data into an open nest.
void write_expression(netlink::Writer& writer, const Expression& expression,
                      DumpMode mode = DumpMode::keep);

}  // namespace weir::rules
