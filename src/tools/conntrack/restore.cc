// -R: a file of command lines, such as `-o save` prints.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <utility>
#include <vector>

#include "tools/conntrack/commands.h"

namespace weir::tools::conntrack {
namespace {

/// The words of a line; quotes hold blanks together.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, started = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
      started = true;
    } else if (!quoted && (c == ' ' || c == '\t')) {
      if (started) words.push_back(std::exchange(word, {}));
      started = false;
    } else {
      word += c;
      started = true;
    }
  }
  if (started) words.push_back(word);
  return words;
}

bool may_be_in_file(const Request& request) {
  if (request.table != Table::conntrack) return false;
  switch (request.command) {
    case Command::insert:
    case Command::add:
    case Command::update:
    case Command::remove:
    case Command::flush:
      return true;
    default:
      return false;
  }
}

Result<Request> read_line(const std::string& line) {
  std::vector<std::string> words = words_of(line);
  words.insert(words.begin(), "weir conntrack");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  auto request = parse_request(static_cast<int>(words.size()), pointers.data());
  if (request && !may_be_in_file(*request))
    return std::unexpected(
        Error{EINVAL, "a file may hold -I, -A, -U, -D and -F of connections only"});
  return request;
}

}  // namespace

Result<Count> restore(const std::string& file, NetlinkSocket& socket) {
  std::ifstream opened;
  if (file != "-") {
    opened.open(file);
    if (!opened)
      return std::unexpected(Error{errno, fmt::format("{}: {}", file, std::strerror(errno))});
  }
  std::istream& input = file == "-" ? std::cin : opened;

  struct Line {
    std::size_t number;
    Request request;
  };
  std::vector<Line> lines;
  std::string text;
  for (std::size_t number = 1; std::getline(input, text); ++number) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string::npos || text[begin] == '#') continue;
    auto request = read_line(text);
    if (!request)
      return std::unexpected(
          Error{EINVAL, fmt::format("{}:{}: {}", file, number, request.error().text)});
    lines.push_back({number, std::move(*request)});
  }
  Count count = 0;
  for (const Line& line : lines) {
    const auto done = run(line.request, socket);
    if (!done) {
      return std::unexpected(
          Error{done.error().code,
                fmt::format("{}:{}: {}", file, line.number, explain(done.error(), line.request))});
    }
    count += *done;
  }
  return count;
}

}  // namespace weir::tools::conntrack
