#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "netlink/attributes.h"
#include "netlink/message.h"
#include "netlink/writer.h"

namespace weir::netlink {
namespace {

constexpr std::uint16_t kName = 1;
constexpr std::uint16_t kMark = 2;
constexpr std::uint16_t kList = 3;
constexpr std::uint16_t kElement = 1;
constexpr Rule kSchema[] = {
    {.type = kName, .kind = Kind::string, .max_bytes = 8},
    {.type = kMark, .kind = Kind::u32, .max_value = 255},
    {.type = kList, .kind = Kind::nested},
};

/// The attributes of the only message in a buffer.
Region attributes_of(const Buffer& buffer) {
  Bytes rest(buffer);
  return Message::take(rest)->attributes();
}

TEST(Netlink, WritesTheBytesThatTheKernelReads) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({.type = 0x0100, .flags = 5, .sequence = 7, .family = 2, .resource_id = 0x1234});
  {
    const auto nest = writer.nest(kList);
    writer.put_be32(kMark, 0x0a0b0c0du);
  }
  writer.put_string(kName, "abcd");
  writer.end();
  const Buffer expected = {
      44,  0,   0,    0,    0, 1, 5, 0, 7,    0,    0,    0,    0, 0, 0, 0,  // nlmsghdr
      2,   0,   0x12, 0x34,                                                  // nfgenmsg
      12,  0,   3,    0x80, 8, 0, 2, 0, 0x0a, 0x0b, 0x0c, 0x0d, 9, 0, 1, 0,
      'a', 'b', 'c',  'd',  0, 0, 0, 0,
  };
  EXPECT_EQ(buffer, expected);
}

TEST(Netlink, FindsAttributesByTypeAndTheirOffsets) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({});
  writer.put_be32(kMark, 7u);
  writer.put_string(kName, "eth0");
  writer.end();
  const auto parsed = Attributes::parse(attributes_of(buffer), kSchema);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->be32(kMark).host(), 7u);
  EXPECT_EQ(parsed->string(kName), "eth0");
  EXPECT_EQ(parsed->find(kMark).offset(), 20u);
  EXPECT_EQ(parsed->find(kName).offset(), 28u);
  EXPECT_FALSE(parsed->has(kList));
  EXPECT_EQ(parsed->error(kName, EEXIST, "x").offset, 28u);
}

TEST(Netlink, OffsetsOfNestedAttributesCountFromTheMessage) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({});
  writer.put_be32(kMark, 1u);
  {
    const auto list = writer.nest_plain(kList);
    writer.put_be32(kElement, 10u);
    writer.put_be32(kElement, 11u);
  }
  writer.end();
  const auto parsed = Attributes::parse(attributes_of(buffer), kSchema);
  ASSERT_TRUE(parsed);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
  for (const Attribute& element : parsed->nested(kList)) {
    seen.emplace_back(element.be32().host(), element.offset());
  }
  EXPECT_EQ(seen, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{10, 32}, {11, 40}}));
}

/// One attribute in a message, checked against kSchema.
Result<Attributes> parse_one(std::uint16_t type, const std::vector<std::uint8_t>& payload,
                             std::span<const Rule> schema = kSchema) {
  static Buffer buffer;
  buffer.clear();
  Writer writer(buffer);
  writer.begin({});
  writer.put(type, payload);
  writer.end();
  return Attributes::parse(attributes_of(buffer), schema);
}

TEST(Netlink, RefusesWhatTheSchemaForbids) {
  struct Case {
    const char* what;
    std::uint16_t type;
    std::vector<std::uint8_t> payload;
    Rule rule;
    int code;
  };
  const Case cases[] = {
      {"short integer", kMark, {1, 2, 3}, {.type = kMark, .kind = Kind::u32}, ERANGE},
      {"longer integer", kMark, {0, 0, 0, 1, 9}, {.type = kMark, .kind = Kind::u32}, 0},
      {"above maximum",
       kMark,
       {0, 0, 1, 0},
       {.type = kMark, .kind = Kind::u32, .max_value = 255},
       ERANGE},
      {"reserved bit", kMark, {0, 0, 0, 4}, {.type = kMark, .kind = Kind::u32, .mask = 3}, EINVAL},
      {"long string",
       kName,
       {'a', 'b', 'c', 'd'},
       {.type = kName, .kind = Kind::string, .max_bytes = 3},
       ERANGE},
      {"longest string and NUL",
       kName,
       {'a', 'b', 'c', 0},
       {.type = kName, .kind = Kind::string, .max_bytes = 3},
       0},
      {"empty string", kName, {}, {.type = kName, .kind = Kind::string}, ERANGE},
      {"NUL missing", kName, {'a'}, {.type = kName, .kind = Kind::nul_string}, EINVAL},
      {"flag with payload", kName, {1}, {.type = kName, .kind = Kind::flag}, ERANGE},
      {"nest of two bytes", kList, {1, 0}, {.type = kList, .kind = Kind::nested}, ERANGE},
      {"empty nest", kList, {}, {.type = kList, .kind = Kind::nested}, 0},
      {"long binary", kName, {1, 2}, {.type = kName, .kind = Kind::binary, .max_bytes = 1}, ERANGE},
  };
  for (const Case& c : cases) {
    const auto parsed = parse_one(c.type, c.payload, {&c.rule, 1});
    EXPECT_EQ(parsed ? 0 : parsed.error().code, c.code) << c.what;
    if (!parsed) {
      EXPECT_EQ(parsed.error().offset, 20u) << c.what;
    }
  }
}

TEST(Netlink, NamesTheMissingAttribute) {
  constexpr Rule schema[] = {{.type = kMark, .kind = Kind::u32, .required = true}};
  const auto parsed = parse_one(kName, {'a', 0}, schema);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().missing, kMark);
  EXPECT_EQ(parsed.error().offset, 0u);

  const Region nested(Bytes{}, 44);
  const auto inner = Attributes::parse(nested, schema);
  ASSERT_FALSE(inner);
  EXPECT_EQ(inner.error().offset, 40u) << "the nest that it belongs in";
}

TEST(Netlink, StopsAtAttributesThatRunPastTheEnd) {
  const std::uint8_t bytes[] = {8, 0, 1, 0, 1, 2, 3, 4, 40, 0, 2, 0, 0, 0, 0, 0};
  int count = 0;
  for (const Attribute& attribute : Region(bytes, 0)) count += attribute.type() == 1 ? 1 : 100;
  EXPECT_EQ(count, 1);
  const std::uint8_t tiny[] = {2, 0, 1, 0};
  for (const Attribute& attribute : Region(tiny, 0)) FAIL() << attribute.type();
}

TEST(Netlink, TakesMessagesOffADatagram) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({.sequence = 1});
  writer.put_u8(1, 1);
  writer.end();
  writer.begin({.sequence = 2});
  writer.end();
  buffer.resize(buffer.size() + 5);
  Bytes rest(buffer);
  EXPECT_EQ(Message::take(rest)->sequence(), 1u);
  EXPECT_EQ(Message::take(rest)->sequence(), 2u);
  EXPECT_FALSE(Message::take(rest)) << "five zero bytes are no message";
}

struct AckCase {
  Error error;
  AckOptions options;
  std::uint16_t flags;
  std::size_t bytes;
};

TEST(Netlink, AcksAsTheKernelDoes) {
  Buffer request;
  Writer writer(request);
  writer.begin({.type = 0x0101, .flags = NLM_F_REQUEST | NLM_F_ACK, .sequence = 9});
  writer.put_be32(kMark, 7u);
  writer.end();
  Bytes rest(request);
  const Message message = *Message::take(rest);

  const Error refused{.code = ENOENT, .text = "abc", .offset = 20};
  const AckCase cases[] = {
      {{}, {}, NLM_F_CAPPED, 36},
      {refused, {}, 0, 20 + 28},
      {refused, {.capped = true}, NLM_F_CAPPED, 36},
      {refused, {.capped = true, .extended = true}, NLM_F_CAPPED | NLM_F_ACK_TLVS, 36 + 8 + 8},
      {refused, {.extended = true}, NLM_F_ACK_TLVS, 48 + 8 + 8},
  };
  for (const AckCase& c : cases) {
    Buffer out;
    append_ack(out, message, c.error, c.options);
    const auto header = load<nlmsghdr>(out.data());
    EXPECT_EQ(header.nlmsg_len, c.bytes);
    EXPECT_EQ(out.size(), c.bytes);
    EXPECT_EQ(header.nlmsg_flags, c.flags);
    EXPECT_EQ(header.nlmsg_seq, 9u);
    EXPECT_EQ(load<std::int32_t>(out.data() + 16), -c.error.code);
  }
}

TEST(Netlink, ACancelledNestLeavesNoTrace) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({});
  {
    auto nest = writer.nest(kList);
    writer.put_u8(1, 1);
    nest.cancel();
  }
  writer.end();
  EXPECT_EQ(buffer.size(), 20u);
}

}  // namespace
}  // namespace weir::netlink
