#include "tests/support/table_line.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "tests/support/packet_bytes.h"

namespace weir::test {

namespace {

constexpr long kTimeoutSlack = 3;

std::vector<std::string> plain_words(const std::string& text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t\n", at)) != std::string::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

/// The tool's words with its unnamed numbers named:
/// "ipv4 2 tcp 6 431999 ESTABLISHED src=…" becomes "ipv4 tcp timeout=431999 ESTABLISHED src=…".
std::vector<std::string> entry_words(const std::string& text) {
  std::vector<std::string> words = plain_words(text);
  if (words.size() < 5 || !words[0].starts_with("ipv")) return words;
  words[4] = "timeout=" + words[4];
  words.erase(words.begin() + 3);
  words.erase(words.begin() + 1);
  return words;
}

bool is_flag(const std::string& word) { return word.starts_with('['); }

bool match_word(const std::string& expected, const std::string& actual, Variables& variables) {
  const std::size_t equals = expected.find('=');
  if (equals == std::string::npos) return expected == actual;
  if (actual.substr(0, equals + 1) != expected.substr(0, equals + 1)) return false;
  const std::string wanted = expected.substr(equals + 1);
  const std::string value = actual.substr(equals + 1);
  if (expected.starts_with("timeout=") && wanted != "*") {
    long most = 0;
    long now = 0;
    std::from_chars(wanted.data(), wanted.data() + wanted.size(), most);
    std::from_chars(value.data(), value.data() + value.size(), now);
    return most - kTimeoutSlack <= now && now <= most;
  }
  return match_value(wanted, value, variables);
}

}  // namespace

bool match_table_line(const std::string& expected, const std::string& entry, Variables& variables) {
  Variables bound = variables;
  const std::vector<std::string> wanted = plain_words(expected);
  std::size_t next = 0;
  for (const std::string& word : entry_words(entry)) {
    if (next < wanted.size() && match_word(wanted[next], word, bound)) {
      ++next;
    } else if (is_flag(word)) {
      return false;
    }
  }
  if (next != wanted.size()) return false;
  variables = bound;
  return true;
}

}  // namespace weir::test
