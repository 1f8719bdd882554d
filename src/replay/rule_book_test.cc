#include "replay/rule_book.h"

#include <gtest/gtest.h>

namespace weir::replay {
namespace {

TEST(RuleBook, FindsTextsByTableAndHandle) {
  const auto texts = texts_by_handle(
      "table inet gateway { # handle 1\n"
      "\tset hosts { # handle 3\n"
      "\t\ttype ipv4_addr\n"
      "\t\telements = { 10.0.0.1, 10.0.0.2 }\n"
      "\t}\n"
      "\n"
      "\tchain forward { # handle 2\n"
      "\t\ttype filter hook forward priority filter; policy drop;\n"
      "\t\tct state established,related accept # handle 4\n"
      "\t\ttcp dport 22 accept comment \"see # handle 9\" # handle 5\n"
      "\t}\n"
      "}\n"
      "table ip nat { # handle 2\n"
      "\tchain postrouting { # handle 1\n"
      "\t\toifname \"wan0\" masquerade # handle 4\n"
      "\t}\n"
      "}\n");
  EXPECT_EQ(texts.at("inet gateway 4"), "ct state established,related accept");
  EXPECT_EQ(texts.at("inet gateway 5"), "tcp dport 22 accept comment \"see # handle 9\"");
  EXPECT_EQ(texts.at("ip nat 4"), "oifname \"wan0\" masquerade");
  EXPECT_FALSE(texts.contains("ip nat 5"));
}

}  // namespace
}  // namespace weir::replay
