#include "helpers/ftp_lines.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace weir::helpers::ftp {
namespace {

using conntrack::Direction;
using Found = Announcement::Found;
using wire::Family;

struct Case {
  const char* text;
  Direction from;
  Family family;
  Found found;
  const char* place = "";  // The text that names address and port.
  const char* address = "";
  std::uint16_t port = 0;
};

constexpr Direction kClient = Direction::original;
constexpr Direction kServer = Direction::reply;

const Case kCases[] = {
    {"PORT 192,0,2,1,4,1\r\n", kClient, Family::ip, Found::whole, "192,0,2,1,4,1", "192.0.2.1",
     1025},
    {"port 192,0,2,1,4,1\r\nRETR x\r\n", kClient, Family::ip, Found::whole, "192,0,2,1,4,1",
     "192.0.2.1", 1025},
    {"EPRT |1|192.0.2.1|1025|\r\n", kClient, Family::ip, Found::whole, "|1|192.0.2.1|1025|",
     "192.0.2.1", 1025},
    {"EPRT !2!2001:db8::1!65535!\r\n", kClient, Family::ip6, Found::whole, "!2!2001:db8::1!65535!",
     "2001:db8::1", 65535},
    {"227 Entering Passive Mode (192,0,2,1,4,1).\r\n", kServer, Family::ip, Found::whole,
     "192,0,2,1,4,1", "192.0.2.1", 1025},
    {"227 =192,0,2,1,4,1\r\n", kServer, Family::ip, Found::whole, "192,0,2,1,4,1", "192.0.2.1",
     1025},
    {"229 Extended Passive OK (|||1025|)\r\n", kServer, Family::ip6, Found::whole, "|||1025|", "",
     1025},
    // Not announcements.
    {"", kClient, Family::ip, Found::nothing},
    {"USER PORT 1,2,3,4,5,6\r\n", kClient, Family::ip, Found::nothing},
    {"220 227 Entering\r\n", kServer, Family::ip, Found::nothing},
    {"227 Entering Passive Mode (192,0,2,1,4,1).\r\n", kClient, Family::ip, Found::nothing},
    {"PORT 192,0,2,1,4,1\r\n", kServer, Family::ip, Found::nothing},
    // Halves, and what looks like an announcement and isn't one.
    {"P", kClient, Family::ip, Found::partly},
    {"PORT", kClient, Family::ip, Found::partly},
    {"PORT 192,0,2,1,4", kClient, Family::ip, Found::partly},
    {"PORT 192,0,2,1,4,1", kClient, Family::ip, Found::partly},
    {"PORT 192,0,2,1,4,1,9\r\n", kClient, Family::ip, Found::partly},
    {"PORT 192,0,2,256,4,1\r\n", kClient, Family::ip, Found::partly},
    {"PORT 192,0,2,1,99999999999,1\r\n", kClient, Family::ip, Found::partly},
    {"PORT ,,,,,\r\n", kClient, Family::ip, Found::partly},
    {"EPRT |2|2001:db8::1|1025|\r\n", kClient, Family::ip, Found::partly},
    {"EPRT |1|192.0.2.1|0|\r\n", kClient, Family::ip, Found::partly},
    {"EPRT |1|192.0.2.1|65536|\r\n", kClient, Family::ip, Found::partly},
    {"EPRT 11192.0.2.111025.\r\n", kClient, Family::ip, Found::partly},
    {"EPRT |2||1025|\r\n", kClient, Family::ip6, Found::partly},
    {"227 Entering Passive Mode (192,0,2", kServer, Family::ip, Found::partly},
    {"227 nowhere\r\n", kServer, Family::ip, Found::partly},
    {"229 Extended (||1025|)\r\n", kServer, Family::ip, Found::partly},
    {"229 Extended", kServer, Family::ip, Found::partly},
};

TEST(FtpLines, ReadsAnnouncements) {
  for (const Case& each : kCases) {
    SCOPED_TRACE(each.text);
    const std::string_view text = each.text;
    const Announcement said = read(text, each.from, each.family);
    ASSERT_EQ(said.found, each.found);
    if (each.found != Found::whole) continue;
    EXPECT_EQ(text.substr(said.place.offset, said.place.length), each.place);
    EXPECT_EQ(said.port, each.port);
    EXPECT_EQ(said.has_address, *each.address != '\0');
    if (!said.has_address) continue;
    EXPECT_EQ(wire::to_string(said.address, each.family), each.address);
  }
}

std::string spelled(nat::Spell spell, const char* address, std::uint16_t port) {
  const auto parsed = wire::parse_address(address).value();
  std::array<char, nat::kSpelledMax> text;
  return {text.data(), spell(text, parsed.family, parsed.address, port)};
}

TEST(FtpLines, SpellsAsItReads) {
  EXPECT_EQ(spelled(spell_commas, "192.0.2.1", 1025), "192,0,2,1,4,1");
  EXPECT_EQ(spelled(spell_commas, "255.255.255.255", 65535), "255,255,255,255,255,255");
  EXPECT_EQ(spelled(spell_extended, "192.0.2.1", 1025), "|1|192.0.2.1|1025|");
  EXPECT_EQ(spelled(spell_extended, "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 65535),
            "|2|ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff|65535|");
  EXPECT_EQ(spelled(spell_port_alone, "192.0.2.1", 1025), "|||1025|");
}

}  // namespace
}  // namespace weir::helpers::ftp
