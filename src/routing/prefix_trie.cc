#include "routing/prefix_trie.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

namespace weir::routing {

/// A node while the writer works on it.
struct PrefixTrie::Draft {
  std::uint8_t depth = 0;
  std::array<std::uint8_t, 16> prefix{};
  std::vector<Item> items;
  std::vector<std::pair<std::uint8_t, Node*>> children;

  Draft() = default;
  Draft(std::uint8_t at_depth, const wire::Address& address) : depth(at_depth) {
    std::memcpy(prefix.data(), address.bytes.data(), depth);
  }
  auto find_item(std::uint8_t bits, std::uint8_t length) {
    return std::find_if(items.begin(), items.end(), [&](const Item& item) {
      return item.bits == bits && item.length == length;
    });
  }
};

namespace {

std::uint8_t node_depth(const wire::Prefix& prefix) {
  return static_cast<std::uint8_t>((prefix.length - 1) / 8);
}

std::uint8_t length_in_byte(const wire::Prefix& prefix) {
  return static_cast<std::uint8_t>((prefix.length - 1) % 8 + 1);
}

std::uint8_t byte_mask(std::uint8_t length) { return static_cast<std::uint8_t>(0xff00u >> length); }

}  // namespace

PrefixTrie::PrefixTrie(wire::Family family, Retired& retired)
    : family_(family), retired_(retired) {}

PrefixTrie::~PrefixTrie() {
  delete everything_.load(std::memory_order_relaxed);
  destroy(root_.load(std::memory_order_relaxed));
}

void PrefixTrie::destroy(Node* node) {
  if (node == nullptr) return;
  for (std::size_t i = 0; i < node->slot_count; ++i)
    destroy(node->slots()[i].child.load(std::memory_order_relaxed));
  for (std::size_t i = 0; i < node->item_count; ++i) delete node->items()[i].routes;
  release_node(node);
}

void PrefixTrie::release_node(const void* node) { ::operator delete(const_cast<void*>(node)); }

const PrefixRoutes* PrefixTrie::exact(const wire::Prefix& prefix) const {
  assert(prefix.family == family_);
  if (prefix.length == 0) return everything_.load(std::memory_order_relaxed);
  const std::uint8_t depth = node_depth(prefix);
  const Node* node = root_.load(std::memory_order_relaxed);
  while (node != nullptr && node->depth < depth) {
    if (std::memcmp(node->prefix.data(), prefix.address.bytes.data(), node->depth) != 0)
      return nullptr;
    node = node->slots()[node->rank(prefix.address.bytes[node->depth])].child.load(
        std::memory_order_relaxed);
  }
  if (node == nullptr || node->depth != depth) return nullptr;
  if (std::memcmp(node->prefix.data(), prefix.address.bytes.data(), depth) != 0) return nullptr;
  for (std::size_t i = 0; i < node->item_count; ++i) {
    const Item& item = node->items()[i];
    if (item.bits == prefix.address.bytes[depth] && item.length == length_in_byte(prefix))
      return item.routes;
  }
  return nullptr;
}

void PrefixTrie::set(const wire::Prefix& prefix, std::unique_ptr<const PrefixRoutes> routes) {
  const PrefixRoutes* const old_routes = exact(prefix);
  if (old_routes == nullptr && routes == nullptr) return;
  if (old_routes == nullptr) ++prefix_count_;
  if (routes == nullptr) --prefix_count_;

  if (prefix.length == 0) {
    everything_.store(routes.release(), std::memory_order_release);
  } else if (routes != nullptr) {
    insert(prefix, routes.release());
  } else {
    erase(prefix);
  }
  if (old_routes != nullptr) retired_.add(old_routes);
}

void PrefixTrie::replace(std::atomic<Node*>& link, Node* old_node, Node* new_node) {
  link.store(new_node, std::memory_order_release);
  if (old_node != nullptr) retired_.add(old_node, release_node);
}

void PrefixTrie::insert(const wire::Prefix& prefix, const PrefixRoutes* routes) {
  const auto& bytes = prefix.address.bytes;
  const std::uint8_t depth = node_depth(prefix);
  const Item item{routes, 0, bytes[depth], length_in_byte(prefix)};
  const auto new_leaf = [&] {
    Draft draft(depth, prefix.address);
    draft.items.push_back(item);
    return draft;
  };

  std::atomic<Node*>* link = &root_;
  for (;;) {
    Node* const node = link->load(std::memory_order_relaxed);
    if (node == nullptr) return link->store(build(new_leaf()), std::memory_order_release);

    const std::uint8_t shallower = std::min(depth, node->depth);
    const auto differ =
        std::mismatch(bytes.begin(), bytes.begin() + shallower, node->prefix.begin());
    const auto common = static_cast<std::uint8_t>(differ.first - bytes.begin());
    if (common < shallower) {
      Draft fork(common, prefix.address);
      fork.children = {{node->prefix[common], node}, {bytes[common], build(new_leaf())}};
      return link->store(build(fork), std::memory_order_release);
    }
    if (depth < node->depth) {
      Draft above = new_leaf();
      above.children = {{node->prefix[depth], node}};
      return link->store(build(above), std::memory_order_release);
    }
    if (depth == node->depth) {
      Draft changed = draft_of(*node);
      const auto at = changed.find_item(item.bits, item.length);
      if (at == changed.items.end()) {
        changed.items.push_back(item);
      } else {
        at->routes = routes;
      }
      return replace(*link, node, build(changed));
    }
    Slot& slot = node->slots()[node->rank(bytes[node->depth])];
    if (slot.child.load(std::memory_order_relaxed) == nullptr) {
      Draft changed = draft_of(*node);
      changed.children.emplace_back(bytes[node->depth], build(new_leaf()));
      return replace(*link, node, build(changed));
    }
    link = &slot.child;
  }
}

PrefixTrie::Node* PrefixTrie::simplest(const Draft& draft) {
  if (!draft.items.empty() || draft.children.size() > 1) return build(draft);
  return draft.children.empty() ? nullptr : draft.children.front().second;
}

void PrefixTrie::erase(const wire::Prefix& prefix) {
  const auto& bytes = prefix.address.bytes;
  const std::uint8_t depth = node_depth(prefix);
  std::atomic<Node*>* parent_link = nullptr;
  std::atomic<Node*>* link = &root_;
  Node* node = link->load(std::memory_order_relaxed);
  while (node->depth < depth) {
    parent_link = link;
    link = &node->slots()[node->rank(bytes[node->depth])].child;
    node = link->load(std::memory_order_relaxed);
  }

  Draft changed = draft_of(*node);
  changed.items.erase(changed.find_item(bytes[depth], length_in_byte(prefix)));
  Node* const rest = simplest(changed);
  if (rest != nullptr || parent_link == nullptr) return replace(*link, node, rest);

  Node* const parent = parent_link->load(std::memory_order_relaxed);
  Draft above = draft_of(*parent);
  std::erase_if(above.children, [&](const auto& child) { return child.second == node; });
  replace(*parent_link, parent, simplest(above));
  retired_.add(node, release_node);
}

PrefixTrie::Draft PrefixTrie::draft_of(const Node& node) {
  Draft draft;
  draft.depth = node.depth;
  draft.prefix = node.prefix;
  draft.items.assign(node.items(), node.items() + node.item_count);
  for (unsigned byte = 0; byte < 256; ++byte) {
    if ((node.starts[byte / 64] >> (byte % 64) & 1) == 0) continue;
    Node* const child = node.slots()[node.rank(static_cast<std::uint8_t>(byte))].child.load(
        std::memory_order_relaxed);
    if (child != nullptr) draft.children.emplace_back(byte, child);
  }
  return draft;
}

PrefixTrie::Node* PrefixTrie::build(const Draft& draft) {
  std::vector<Item> items = draft.items;
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return a.length < b.length; });

  // Shorter prefixes first, so that a longer one finds what it covers already there.
  std::array<std::uint16_t, 256> longest{};
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::uint8_t mask = byte_mask(items[i].length);
    const unsigned first = items[i].bits & mask;
    const unsigned last = first | static_cast<std::uint8_t>(~mask);
    items[i].covering = longest[first];
    for (unsigned byte = first; byte <= last; ++byte)
      longest[byte] = static_cast<std::uint16_t>(i + 1);
  }
  std::array<Node*, 256> children{};
  for (const auto& [byte, child] : draft.children) children[byte] = child;

  // A child's slot is its own; neighbours without a child share one when they have the same prefix.
  const auto begins_run = [&](unsigned byte) {
    if (byte == 0 || children[byte] != nullptr || children[byte - 1] != nullptr) return true;
    return longest[byte] != longest[byte - 1];
  };
  std::size_t slot_count = 0;
  for (unsigned byte = 0; byte < 256; ++byte) slot_count += begins_run(byte);

  void* const memory =
      ::operator new(sizeof(Node) + slot_count * sizeof(Slot) + items.size() * sizeof(Item));
  Node* const node = new (memory) Node{};
  node->depth = draft.depth;
  node->prefix = draft.prefix;
  node->slot_count = static_cast<std::uint16_t>(slot_count);
  node->item_count = static_cast<std::uint16_t>(items.size());
  std::size_t at = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!begins_run(byte)) continue;
    node->starts[byte / 64] |= std::uint64_t{1} << (byte % 64);
    new (node->slots() + at++) Slot{.child = children[byte], .item = longest[byte]};
  }
  std::copy(items.begin(), items.end(), node->items());
  return node;
}

}  // namespace weir::routing
