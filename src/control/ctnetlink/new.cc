#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>
#include <memory>

#include "control/ctnetlink/ctnetlink.h"
#include "control/ctnetlink/read_edit.h"
#include "control/ctnetlink/read_nat.h"
#include "helpers/list.h"

/// IPCTNL_MSG_CT_NEW: makes a connection, or changes one that exists. What is checked, in which
/// order and with which errors, is as in the kernel's ctnetlink_new_conntrack; but a request that
/// is refused has changed nothing.
namespace weir::control {
namespace {

using conntrack::Creation;
using conntrack::Snapshot;
using conntrack::Tuple;
using ctnetlink::EditReader;

Result<void> refusal(int code) {
  switch (code) {
    case 0:
      return {};
    case ENOENT:
      return std::unexpected(Error{code, "the connection has just ended"});
    case EPERM:
      return std::unexpected(Error{code, "the connection's timeout is fixed"});
    case EBUSY:
      return std::unexpected(Error{code, "status bits that can't be changed like that"});
    case EEXIST:
      return std::unexpected(
          Error{code, "another connection has one of the tuples, or NAT finds no free one"});
    case ENOMEM:
      return std::unexpected(Error{code, "the table is full"});
    default:
      return std::unexpected(Error{code, "the engine has no room for it"});
  }
}

/// What a new connection is like, in the kernel's order.
Result<void> read_parts_of_new(std::uint8_t protocol, EditReader& reader) {
  const std::uint32_t helper_bit = reader.edit().helper ? conntrack::status::kHelper : 0;
  if (auto read = reader.read_status(conntrack::status::kConfirmed | helper_bit); !read)
    return read;
  if (auto read = reader.read_sequence(); !read) return read;
  if (auto read = reader.read_protocol(protocol); !read) return read;
  if (auto read = reader.read_synproxy(); !read) return read;
  reader.read_mark();
  return {};
}

/// A connection that a worker is making, and all that it needs for that.
class PendingConnection final : public Pending {
 public:
  PendingConnection(conntrack::Control& control, const Creation& creation,
                    const ctnetlink::NatReader& nat)
      : control_(control), creation_(creation), nat_(nat) {
    if (nat_.is_wanted()) creation_.chooser = &nat_;
    control_.begin_create(creation_, making_);
  }
  Result<void> finish() override { return refusal(control_.finish(making_)); }

 private:
  conntrack::Control& control_;
  Creation creation_;
  ctnetlink::NatReader nat_;
  conntrack::Control::Making making_;
};

/// The helper of that name for a connection's protocol, zero when there is none.
std::uint16_t find_helper(std::string_view name, const Tuple& original) {
  return helpers::number_of(name, original.protocol);
}

}  // namespace

Result<void> Ctnetlink::make_or_change(const Request& request, Reply& reply) {
  const auto attributes = ctnetlink::parse_request(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  Named named{.zone = ctnetlink::Zone::read(*attributes)};
  for (const std::uint16_t type : {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY}) {
    if (!attributes->has(type)) continue;
    const auto tuple = ctnetlink::read_tuple(attributes->find(type),
                                             request.message.family().nfgen_family, &named.zone);
    if (!tuple) return std::unexpected(tuple.error());
    (type == CTA_TUPLE_ORIG ? named.original : named.reply) = *tuple;
  }

  if (const auto connection = find(named)) {
    if (request.message.flags() & NLM_F_EXCL) {
      return std::unexpected(Error{EEXIST, "the connection exists"});
    }
    return change(request, *attributes, *connection);
  }
  if (!(request.message.flags() & NLM_F_CREATE)) {
    return std::unexpected(Error{ENOENT, "no connection has this tuple"});
  }
  return make(request, reply, *attributes, named);
}

Result<void> Ctnetlink::change(const Request& request, const netlink::Attributes& attributes,
                               const Snapshot& connection) {
  for (const std::uint16_t type : {CTA_NAT_SRC, CTA_NAT_DST, CTA_TUPLE_MASTER}) {
    if (attributes.has(type)) {
      return std::unexpected(
          attributes.error(type, EOPNOTSUPP, "only new connections get NAT or a master"));
    }
  }
  EditReader reader(attributes);
  if (auto read = change_helper(attributes, connection, reader); !read) return read;
  reader.read_timeout();
  if (reader.edit().timeout && connection.status & conntrack::status::kFixedTimeout) {
    return refusal(EPERM);
  }
  if (auto read = reader.read_status(connection.status); !read) return read;
  if (auto read = reader.read_protocol(connection.original.protocol); !read) return read;
  reader.read_mark();
  if (auto read = reader.read_sequence(); !read) return read;
  if (auto read = reader.read_synproxy(); !read) return read;
  if (auto read = reader.read_labels(); !read) return read;
  return refusal(control_.edit(connection, reader.edit(), request.port_id));
}

/// A helper is given to new connections only; it can be taken away, or named again.
Result<void> Ctnetlink::change_helper(const netlink::Attributes& attributes,
                                      const Snapshot& connection, EditReader& reader) const {
  if (!attributes.has(CTA_HELP)) return {};
  const auto name = reader.helper_name();
  if (!name) return std::unexpected(name.error());
  const std::uint16_t present = connection.rare.helper;
  const std::uint16_t wanted = find_helper(*name, connection.original);
  if (connection.rare.has_master()) {
    if (present != 0 && present == wanted) return {};
    return std::unexpected(
        attributes.error(CTA_HELP, EBUSY, "expected connections keep their helper"));
  }
  if (name->empty()) {
    reader.set_helper(0);
    return {};
  }
  if (wanted == 0) return std::unexpected(attributes.error(CTA_HELP, EOPNOTSUPP, "no such helper"));
  if (wanted == present) return {};
  return std::unexpected(attributes.error(CTA_HELP, present != 0 ? EBUSY : EOPNOTSUPP,
                                          "a helper is given to new connections only"));
}

Result<void> Ctnetlink::make(const Request& request, Reply& reply,
                             const netlink::Attributes& attributes, const Named& named) {
  for (const std::uint16_t type : {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_TIMEOUT}) {
    if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
    if (type == CTA_TUPLE_REPLY && named.original->protocol != named.reply->protocol) {
      return std::unexpected(
          attributes.error(type, EINVAL, "the directions have different protocols"));
    }
  }
  Creation creation{
      .original = *named.original, .reply = *named.reply, .edit = {}, .master_tuple = {}};
  creation.original.zone = named.zone.original;
  creation.reply.zone = named.zone.reply;
  creation.port_id = request.port_id;

  EditReader reader(attributes);
  reader.read_timeout();
  if (auto read = give_helper(attributes, creation.original, reader); !read) return read;
  auto nat = ctnetlink::NatReader::read(attributes, creation.original.family, nat_);
  if (!nat) return std::unexpected(std::move(nat).error());
  if (auto read = read_parts_of_new(creation.original.protocol, reader); !read) return read;
  if (auto read = find_master(request, attributes, named.zone, creation); !read) return read;
  // Wrong labels don't keep a connection from being made.
  static_cast<void>(reader.read_labels());
  creation.edit = reader.edit();
  return reply.finish_later(std::make_unique<PendingConnection>(control_, creation, *nat));
}

Result<void> Ctnetlink::give_helper(const netlink::Attributes& attributes, const Tuple& original,
                                    EditReader& reader) const {
  if (!attributes.has(CTA_HELP)) return {};
  const auto name = reader.helper_name();
  if (!name) return std::unexpected(name.error());
  const std::uint16_t helper = find_helper(*name, original);
  if (helper == 0) return std::unexpected(attributes.error(CTA_HELP, EOPNOTSUPP, "no such helper"));
  reader.set_helper(helper);
  return {};
}

/// CTA_TUPLE_MASTER: the connection that this one was expected by.
Result<void> Ctnetlink::find_master(const Request& request, const netlink::Attributes& attributes,
                                    const ctnetlink::Zone& zone, Creation& creation) const {
  if (!attributes.has(CTA_TUPLE_MASTER)) return {};
  const auto tuple = ctnetlink::read_tuple(attributes.find(CTA_TUPLE_MASTER),
                                           request.message.family().nfgen_family, nullptr);
  if (!tuple) return std::unexpected(tuple.error());
  const auto master = find({.original = *tuple, .zone = zone});
  if (!master) {
    return std::unexpected(
        attributes.error(CTA_TUPLE_MASTER, ENOENT, "no connection has this tuple"));
  }
  creation.master = master->number;
  creation.master_generation = master->generation;
  creation.master_tuple = master->original;
  return {};
}

}  // namespace weir::control
