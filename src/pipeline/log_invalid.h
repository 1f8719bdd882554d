#pragma once

#include "conntrack/sysctl.h"
#include "rules/context.h"

namespace weir::pipeline {

/// net.netfilter.nf_conntrack_log_invalid: writes why tracking found the context's packet INVALID,
/// or let it through without effect, to the rules' log, as the kernel does: "nf_ct_proto_6: the
/// checksum is wrong IN=…". How many lines a second is the sink's affair. Nothing when the knob
/// asks for no line about this packet.
void log_invalid(const rules::Context& context, const conntrack::Sysctl& sysctl);

}  // namespace weir::pipeline
