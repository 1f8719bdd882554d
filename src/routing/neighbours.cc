#include "routing/neighbours.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "base/random.h"

namespace weir::routing {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kFirstBuckets = 256;
constexpr std::size_t kQuestions = 1024;
constexpr std::size_t kAskedSlots = 4096;
constexpr Duration kAskPace = 1s;
constexpr Duration kConfirmPace = 5s;

std::uint64_t pack(NeighbourState state, const Mac& mac) {
  std::uint64_t word = static_cast<std::uint64_t>(state) << 48;
  for (std::size_t i = 0; i < mac.size(); ++i)
    word |= static_cast<std::uint64_t>(mac[i]) << (8 * i);
  return word;
}

NeighbourState state_of(std::uint64_t word) { return static_cast<NeighbourState>(word >> 48); }

Neighbour unpack(std::uint64_t word) {
  Neighbour neighbour{.state = state_of(word)};
  for (std::size_t i = 0; i < neighbour.mac.size(); ++i)
    neighbour.mac[i] = static_cast<std::uint8_t>(word >> (8 * i));
  switch (neighbour.state) {
    case NeighbourState::none:
    case NeighbourState::incomplete:
      neighbour.status = Neighbour::Status::unknown;
      break;
    case NeighbourState::failed:
      neighbour.status = Neighbour::Status::failed;
      break;
    default:
      neighbour.status = Neighbour::Status::resolved;
  }
  return neighbour;
}

}  // namespace

struct Neighbours::Entry {
  NeighbourKey key;
  std::atomic<std::uint64_t> word;
  std::atomic<std::int64_t> asked{0};
  std::atomic<Entry*> next{nullptr};
};

struct Neighbours::Buckets {
  explicit Buckets(std::size_t count) : mask(count - 1), heads(new std::atomic<Entry*>[count]()) {}
  ~Buckets() {
    for (std::size_t i = 0; i <= mask; ++i) {
      for (Entry* entry = heads[i].load(std::memory_order_relaxed); entry != nullptr;)
        delete std::exchange(entry, entry->next.load(std::memory_order_relaxed));
    }
  }
  const std::size_t mask;
  const std::unique_ptr<std::atomic<Entry*>[]> heads;
};

/// A bounded queue that several workers fill (D. Vyukov's: each cell's turn number says who may use
/// it).
class Neighbours::Questions {
 public:
  Questions() : cells_(new Cell[kQuestions]) {
    for (std::size_t i = 0; i < kQuestions; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }
  bool put(const NeighbourKey& key) {
    std::uint64_t at = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at % kQuestions];
      const std::uint64_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn < at) return false;  // Full.
      if (turn > at) {
        at = head_.load(std::memory_order_relaxed);
      } else if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
        cell.key = key;
        cell.turn.store(at + 1, std::memory_order_release);
        return true;
      }
    }
  }
  bool take(NeighbourKey& key) {
    Cell& cell = cells_[tail_ % kQuestions];
    if (cell.turn.load(std::memory_order_acquire) != tail_ + 1) return false;
    key = cell.key;
    cell.turn.store(tail_ + kQuestions, std::memory_order_release);
    ++tail_;
    return true;
  }

 private:
  struct Cell {
    std::atomic<std::uint64_t> turn;
    NeighbourKey key;
  };
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<std::uint64_t> head_{0};
  alignas(64) std::uint64_t tail_ = 0;
};

Neighbours::Neighbours(Epochs* epochs)
    : retired_(epochs),
      hash_key_(random_key()),
      buckets_(new Buckets(kFirstBuckets)),
      questions_(new Questions),
      question_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      asked_(new std::atomic<std::int64_t>[kAskedSlots]()) {}

Neighbours::~Neighbours() {
  delete buckets_.load(std::memory_order_relaxed);
  if (question_fd_ >= 0) close(question_fd_);
}

std::uint64_t Neighbours::hash(const NeighbourKey& key) const {
  const std::uint8_t* const bytes = key.address.bytes.data();
  const std::uint64_t where = static_cast<std::uint64_t>(key.family) << 32 | key.ifindex;
  return siphash13<3>(hash_key_,
                      {load<std::uint64_t>(bytes), load<std::uint64_t>(bytes + 8), where});
}

Neighbours::Entry* Neighbours::find_entry(const NeighbourKey& key) const {
  const Buckets& buckets = *buckets_.load(std::memory_order_acquire);
  Entry* entry = buckets.heads[hash(key) & buckets.mask].load(std::memory_order_acquire);
  while (entry != nullptr && !(entry->key == key))
    entry = entry->next.load(std::memory_order_acquire);
  return entry;
}

Neighbour Neighbours::find(const NeighbourKey& key) const {
  const Entry* const entry = find_entry(key);
  return entry == nullptr ? Neighbour{} : unpack(entry->word.load(std::memory_order_acquire));
}

Neighbour Neighbours::resolve(const NeighbourKey& key, Time now) {
  Entry* const entry = find_entry(key);
  if (entry == nullptr) {
    if (may_ask(asked_[hash(key) >> 32 & (kAskedSlots - 1)], now, kAskPace)) ask(key);
    return {};
  }
  std::uint64_t word = entry->word.load(std::memory_order_acquire);
  switch (state_of(word)) {
    case NeighbourState::stale:
      if (may_ask(entry->asked, now, kConfirmPace)) ask(key);
      return unpack(word);
    case NeighbourState::failed:
      // Wanted again: from now on it is under way, so that held packets wait for the new answer.
      if (!may_ask(entry->asked, now, kAskPace)) return unpack(word);
      entry->word.compare_exchange_strong(word, pack(NeighbourState::incomplete, {}),
                                          std::memory_order_acq_rel);
      ask(key);
      return {};
    case NeighbourState::none:
    case NeighbourState::incomplete:
      if (may_ask(entry->asked, now, kAskPace)) ask(key);
      return {};
    default:
      return unpack(word);
  }
}

bool Neighbours::may_ask(std::atomic<std::int64_t>& last_asked, Time now, Duration pace) {
  std::int64_t last = last_asked.load(std::memory_order_relaxed);
  const std::int64_t at = now.time_since_epoch().count();
  if (last != 0 && at - last < pace.count()) return false;
  return last_asked.compare_exchange_strong(last, at, std::memory_order_relaxed);
}

void Neighbours::ask(const NeighbourKey& key) {
  if (!questions_->put(key)) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (is_signalled_.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then it is readable anyway.
  [[maybe_unused]] const ssize_t written = write(question_fd_, &one, sizeof one);
}

bool Neighbours::take_question(NeighbourKey& key) {
  if (questions_->take(key)) return true;
  if (!is_signalled_.load(std::memory_order_acquire)) return false;
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(question_fd_, &count, sizeof count);
  is_signalled_.store(false, std::memory_order_seq_cst);
  return questions_->take(key);  // One that came between finding none and lowering the signal.
}

void Neighbours::set(const NeighbourKey& key, NeighbourState state, const Mac& mac) {
  const std::uint64_t word = pack(state, mac);
  if (Entry* const known = find_entry(key)) {
    if (known->word.exchange(word, std::memory_order_acq_rel) != word) changed();
    return;
  }
  if (count_ > buckets_.load(std::memory_order_relaxed)->mask) grow();
  Buckets& buckets = *buckets_.load(std::memory_order_relaxed);
  std::atomic<Entry*>& head = buckets.heads[hash(key) & buckets.mask];
  Entry* const entry = new Entry{.key = key, .word = word};
  entry->next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  head.store(entry, std::memory_order_release);
  ++count_;
  changed();
}

void Neighbours::remove(const NeighbourKey& key) {
  Buckets& buckets = *buckets_.load(std::memory_order_relaxed);
  std::atomic<Entry*>* link = &buckets.heads[hash(key) & buckets.mask];
  for (;;) {
    Entry* const entry = link->load(std::memory_order_relaxed);
    if (entry == nullptr) return;
    if (entry->key == key) {
      link->store(entry->next.load(std::memory_order_relaxed), std::memory_order_release);
      retired_.add(entry);
      --count_;
      return changed();
    }
    link = &entry->next;
  }
}

void Neighbours::remove_link(std::uint32_t ifindex) {
  std::vector<NeighbourKey> gone;
  for (const NeighbourKey& key : keys())
    if (key.ifindex == ifindex) gone.push_back(key);
  for (const NeighbourKey& key : gone) remove(key);
}

std::vector<NeighbourKey> Neighbours::keys() const {
  std::vector<NeighbourKey> all;
  const Buckets& buckets = *buckets_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i <= buckets.mask; ++i) {
    for (const Entry* entry = buckets.heads[i].load(std::memory_order_relaxed); entry != nullptr;
         entry = entry->next.load(std::memory_order_relaxed))
      all.push_back(entry->key);
  }
  return all;
}

/// Entries can't be in two chains at once, so the bigger table is made of copies. What a worker
/// writes into the old ones meanwhile (when it last asked) may be lost: it asks once more.
void Neighbours::grow() {
  Buckets* const old_buckets = buckets_.load(std::memory_order_relaxed);
  auto bigger = std::make_unique<Buckets>((old_buckets->mask + 1) * 2);
  for (std::size_t i = 0; i <= old_buckets->mask; ++i) {
    for (const Entry* entry = old_buckets->heads[i].load(std::memory_order_relaxed);
         entry != nullptr; entry = entry->next.load(std::memory_order_relaxed)) {
      std::atomic<Entry*>& head = bigger->heads[hash(entry->key) & bigger->mask];
      Entry* const copy = new Entry{.key = entry->key,
                                    .word = entry->word.load(std::memory_order_acquire),
                                    .asked = entry->asked.load(std::memory_order_relaxed)};
      copy->next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
      head.store(copy, std::memory_order_relaxed);
    }
  }
  buckets_.store(bigger.release(), std::memory_order_release);
  retired_.add(old_buckets);
}

}  // namespace weir::routing
