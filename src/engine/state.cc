#include "engine/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include "base/boot_id.h"
#include "base/siphash.h"
#include "conntrack/arena.h"

namespace weir::engine {
namespace {

constexpr mode_t kFolderMode = 0750;
constexpr mode_t kFileMode = 0600;
constexpr off_t kLargestRules = off_t{1} << 30;

/// What stands before the rules in their file.
struct RulesHeader {
  static constexpr std::uint64_t kMagic = 0x73656c7572726977;  // "wirrules" in memory.
  std::uint64_t magic = kMagic;
  BootId boot_id = {};
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;
};

/// Tells damage, not malice: the key is no secret.
std::uint64_t checksum_of(Bytes bytes) {
  std::uint64_t sum = bytes.size();
  std::array<std::uint64_t, 64> words;
  while (!bytes.empty()) {
    const Bytes part = bytes.first(std::min(bytes.size(), sizeof words - sizeof words[0]));
    words = {};
    words[0] = sum;
    std::memcpy(&words[1], part.data(), part.size());
    sum = siphash13(HashKey{}, words);
    bytes = bytes.subspan(part.size());
  }
  return sum;
}

Result<FileDescriptor> open_file(const std::string& path) {
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (!file.is_open()) return std::unexpected(system_error("cannot open " + path));
  return file;
}

Result<FileDescriptor> take_lock(const std::string& folder) {
  auto lock = open_file(folder + "/lock");
  if (!lock) return lock;
  if (flock(lock->get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return std::unexpected(system_error("cannot lock " + folder));
  return std::unexpected(Error{EADDRINUSE, "another weir engine has the state folder " + folder +
                                               ": stop it, take its place with --replace, or "
                                               "choose another folder with --state"});
}

bool write_all(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

bool read_all(int fd, std::span<std::uint8_t> into) {
  while (!into.empty()) {
    const ssize_t got = read(fd, into.data(), into.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace

Result<State> State::open(const std::string& folder) {
  if (mkdir(folder.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return std::unexpected(system_error("cannot make the state folder " + folder));
  }
  auto lock = take_lock(folder);
  if (!lock) return std::unexpected(lock.error());
  State state(folder, std::move(*lock));
  if (auto opened = state.open_arenas(false); !opened) return std::unexpected(opened.error());
  return state;
}

Result<State> State::take_over(const std::string& folder, FileDescriptor lock) {
  State state(folder, std::move(lock));
  if (auto opened = state.open_arenas(true); !opened) return std::unexpected(opened.error());
  return state;
}

Result<void> State::open_arenas(bool takes_over) {
  if (auto opened = open_connections(takes_over); !opened) return opened;
  auto extensions = open_file(path("extensions"));
  if (!extensions) return std::unexpected(extensions.error());
  extensions_ = std::move(*extensions);
  auto expectations = open_file(path("expectations"));
  if (!expectations) return std::unexpected(expectations.error());
  expectations_ = std::move(*expectations);
  return {};
}

Result<void> State::open_connections(bool takes_over) {
  using Origin = conntrack::Arena::Origin;
  const std::string name = path("connections");
  auto file = open_file(name);
  if (!file) return std::unexpected(file.error());
  const auto origin = conntrack::Arena::inspect(file->get());
  if (!origin) return std::unexpected(origin.error());
  connections_ = std::move(*file);
  if (takes_over && *origin != Origin::this_boot) {
    return std::unexpected(
        Error{EINVAL, "this version of weir lays connections out differently than the running one: "
                      "it can't take them over. To change versions, stop the running engine and "
                      "start this one; established connections are lost"});
  }
  switch (*origin) {
    case Origin::nothing:
    case Origin::this_boot:
      return {};
    case Origin::other_boot:
      notes_.push_back(name + " is of another boot: starting without connections");
      return {};  // The arena empties it.
    case Origin::other_layout:
      notes_.push_back(name +
                       " was written by another version of weir, which lays connections out "
                       "differently: starting without them; it is kept as " +
                       name +
                       ".old (that version, started on it again in this boot, goes on with them)");
      break;
    case Origin::foreign:
      notes_.push_back(name +
                       " is damaged or no connection table: starting without connections; "
                       "it is kept as " +
                       name + ".old");
      break;
  }
  for (const char* each : {"connections", "extensions", "expectations"}) {
    const std::string old = path(each) + ".old";
    if (rename(path(each).c_str(), old.c_str()) != 0 && errno != ENOENT) {
      return std::unexpected(system_error("cannot keep " + path(each) + " aside"));
    }
  }
  auto fresh = open_file(name);
  if (!fresh) return std::unexpected(fresh.error());
  connections_ = std::move(*fresh);
  return {};
}

Result<std::optional<netlink::Buffer>> State::read_rules() const {
  const std::string name = path("rules");
  const auto damaged = [&name] { return std::unexpected(Error{EINVAL, name + " is damaged"}); };
  const FileDescriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.is_open() && errno == ENOENT) return std::nullopt;
  if (!file.is_open()) return std::unexpected(system_error("cannot open " + name));
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return std::unexpected(system_error("examining " + name));

  RulesHeader header;
  const std::span<std::uint8_t> head(reinterpret_cast<std::uint8_t*>(&header), sizeof header);
  if (!read_all(file.get(), head) || header.magic != RulesHeader::kMagic) return damaged();
  if (header.boot_id != boot_id()) return std::nullopt;
  const off_t rest = status.st_size - static_cast<off_t>(sizeof header);
  if (rest > kLargestRules || header.bytes != static_cast<std::uint64_t>(rest)) return damaged();
  netlink::Buffer rules(header.bytes);
  if (!read_all(file.get(), rules) || checksum_of(rules) != header.checksum) return damaged();
  return rules;
}

Result<void> State::write_rules(Bytes rules) const {
  const std::string name = path("rules");
  const std::string fresh = name + ".new";
  const FileDescriptor file(
      ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (!file.is_open()) return std::unexpected(system_error("cannot write " + fresh));
  const RulesHeader header{
      .boot_id = boot_id(), .bytes = rules.size(), .checksum = checksum_of(rules)};
  if (!write_all(file.get(), as_bytes(header)) || !write_all(file.get(), rules)) {
    const Error error = system_error("cannot write " + fresh);
    unlink(fresh.c_str());
    return std::unexpected(error);
  }
  if (rename(fresh.c_str(), name.c_str()) != 0) {
    return std::unexpected(system_error("cannot replace " + name));
  }
  return {};
}

void State::set_rules_aside() const {
  rename(path("rules").c_str(), (path("rules") + ".old").c_str());
}

}  // namespace weir::engine
