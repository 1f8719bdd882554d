#include "tools/conntrack/format.h"

#include <fmt/format.h>
#include <sys/time.h>

namespace weir::tools::conntrack {
namespace {

/// "[seconds.microseconds]" and a tab, each with the padding of its kind of table.
std::string print_time(bool of_expectations) {
  timeval now{};
  gettimeofday(&now, nullptr);
  return of_expectations ? fmt::format("[{:<8}.{:<6}]\t", now.tv_sec, now.tv_usec)
                         : fmt::format("[{:08}.{:06}]\t", now.tv_sec, now.tv_usec);
}

}  // namespace

std::string format(const Flow& flow, Kind kind, const Format& format) {
  switch (format.form) {
    case Form::xml:
      return format_xml(flow, kind, format);
    case Form::save:
      return format_save(flow, kind);
    case Form::json:
      return format_json(flow, kind, format);
    case Form::text:
      break;
  }
  const bool stamped = format.with_time && kind != Kind::entry;
  return (stamped ? print_time(false) : std::string{}) + format_text(flow, kind, format);
}

std::string format(const Expectation& expectation, Kind kind, const Format& format) {
  if (format.form == Form::xml) return format_xml(expectation, kind, format);
  if (format.form == Form::json) return format_json(expectation, kind);
  return (format.with_time ? print_time(true) : std::string{}) + format_text(expectation, kind);
}

std::string opening(const Format& format, bool of_expectations) {
  if (format.form != Form::xml) return {};
  return fmt::format("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{}>\n",
                     of_expectations ? "expect" : "conntrack");
}

std::string closing(const Format& format, bool of_expectations) {
  if (format.form != Form::xml) return {};
  return fmt::format("</{}>\n", of_expectations ? "expect" : "conntrack");
}

}  // namespace weir::tools::conntrack
