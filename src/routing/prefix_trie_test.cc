#include "routing/prefix_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
namespace weir::routing {
namespace {

using wire::Family;

/// The model: every prefix in a list, looked through one by one.
class Naive {
 public:
  void set(const wire::Prefix& prefix, std::uint32_t value) { all_[key(prefix)] = {prefix, value}; }
  void erase(const wire::Prefix& prefix) { all_.erase(key(prefix)); }
  /// The values of all prefixes that contain the address, the longest first.
  std::vector<std::uint32_t> matches(Family family, const wire::Address& address) const {
    std::map<int, std::uint32_t, std::greater<>> found;
    for (const auto& [_, entry] : all_)
      if (entry.first.contains(family, address)) found[entry.first.length] = entry.second;
    std::vector<std::uint32_t> values;
    for (const auto& [_, value] : found) values.push_back(value);
    return values;
  }
  const auto& all() const { return all_; }

 private:
  static std::pair<int, std::array<std::uint8_t, 16>> key(const wire::Prefix& prefix) {
    return {prefix.length, prefix.address.bytes};
  }
  std::map<std::pair<int, std::array<std::uint8_t, 16>>, std::pair<wire::Prefix, std::uint32_t>>
      all_;
};

wire::Prefix masked(Family family, wire::Address address, unsigned length) {
  for (unsigned bit = length; bit < 128; ++bit)
    address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80 >> bit % 8));
  return {family, address, static_cast<std::uint8_t>(length)};
}

/// Addresses from a small space, so that prefixes nest and collide.
wire::Address random_address(Family family, std::mt19937& random) {
  wire::Address address;
  for (std::size_t i = 0; i < wire::address_bytes(family); ++i) {
    const bool is_varied = family == Family::ip || i % 3 == 0;
    address.bytes[i] = is_varied ? static_cast<std::uint8_t>(random() % 4 * 85) : 0x20;
  }
  return address;
}

std::unique_ptr<const PrefixRoutes> routes_of(const wire::Prefix& prefix, std::uint32_t value) {
  auto routes = std::make_unique<PrefixRoutes>();
  routes->length = prefix.length;
  routes->entries.push_back({.destination = prefix, .priority = value});
  return routes;
}

std::vector<std::uint32_t> matches(const PrefixTrie& trie, const wire::Address& address) {
  std::vector<std::uint32_t> values;
  trie.longest_first(address, [&](const PrefixRoutes& routes) {
    values.push_back(routes.entries.front().priority);
    return false;
  });
  return values;
}

class PrefixTrieModel : public testing::TestWithParam<Family> {};

TEST_P(PrefixTrieModel, AgreesWithALinearSearchThroughInsertsAndErasures) {
  const Family family = GetParam();
  const unsigned longest = wire::address_bytes(family) * 8;
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    Retired retired(nullptr);
    PrefixTrie trie(family, retired);
    Naive naive;
    for (std::uint32_t step = 0; step < 400; ++step) {
      const wire::Prefix prefix =
          masked(family, random_address(family, random), random() % (longest + 1));
      if (random() % 3 == 0) {
        trie.set(prefix, nullptr);
        naive.erase(prefix);
      } else {
        trie.set(prefix, routes_of(prefix, step));
        naive.set(prefix, step);
      }
      const wire::Address probe = random_address(family, random);
      ASSERT_EQ(matches(trie, probe), naive.matches(family, probe)) << seed << " step " << step;
    }
    ASSERT_EQ(trie.prefix_count(), naive.all().size());
    std::size_t visited = 0;
    trie.for_each([&](const PrefixRoutes&) { ++visited; });
    ASSERT_EQ(visited, naive.all().size());
    for (const auto& [_, entry] : naive.all()) {
      const PrefixRoutes* found = trie.exact(entry.first);
      ASSERT_NE(found, nullptr);
      ASSERT_EQ(found->entries.front().priority, entry.second);
      trie.set(entry.first, nullptr);
    }
    ASSERT_EQ(trie.prefix_count(), 0u);
    ASSERT_TRUE(matches(trie, random_address(family, random)).empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Families, PrefixTrieModel, testing::Values(Family::ip, Family::ip6));

TEST(PrefixTrie, StopsWhenTheVisitorHasFoundWhatItWants) {
  Retired retired(nullptr);
  PrefixTrie trie(Family::ip, retired);
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"}) {
    const wire::Prefix prefix = *wire::parse_prefix(text);
    trie.set(prefix, routes_of(prefix, prefix.length));
  }
  std::vector<std::uint8_t> seen;
  const bool found =
      trie.longest_first(wire::parse_address("10.1.2.3")->address, [&](const PrefixRoutes& routes) {
        seen.push_back(routes.length);
        return routes.length == 8;
      });
  EXPECT_TRUE(found);
  EXPECT_EQ(seen, (std::vector<std::uint8_t>{16, 8}));
}

}  // namespace
}  // namespace weir::routing
