#pragma once

#include <string>

#include "tools/conntrack/flow.h"
#include "tools/conntrack/labels.h"

namespace weir::tools::conntrack {

/// What a line is about: an entry of the table, or an event.
enum class Kind { entry, created, updated, destroyed };

enum class Form { text, xml, save, json };

/// conntrack(8)'s `-o`, and JSON.
struct Format {
  Form form = Form::text;
  bool with_layer3 = false;      // extended
  bool with_id = false;          // id
  bool with_time = false;        // timestamp: when the line was printed
  bool with_flow_times = false;  // ktimestamp
  bool with_labels = false;      // labels
  LabelNames labels;             // Read when with_labels.
};

/// One line without its end, byte for byte what conntrack(8) 1.4.7 prints; save's is a line for
/// `-R`. JSON is one object, with the fields' names of the text.
std::string format(const Flow& flow, Kind kind, const Format& format);
std::string format(const Expectation& expectation, Kind kind, const Format& format);

/// The lines around the whole output of one form: XML's header and closing tag.
std::string opening(const Format& format, bool of_expectations);
std::string closing(const Format& format, bool of_expectations);

// Of one form each, in the files named after them.
std::string format_text(const Flow& flow, Kind kind, const Format& format);
std::string format_text(const Expectation& expectation, Kind kind);
std::string format_xml(const Flow& flow, Kind kind, const Format& format);
std::string format_xml(const Expectation& expectation, Kind kind, const Format& format);
std::string format_save(const Flow& flow, Kind kind);
std::string format_json(const Flow& flow, Kind kind, const Format& format);
std::string format_json(const Expectation& expectation, Kind kind);

}  // namespace weir::tools::conntrack
