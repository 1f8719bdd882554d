// The live view: the table is read once a second, what has changed since gives the rates, and the
// terminal is written anew. Keys act at once; while / is open they are the filter's letters.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "tools/conntrack/commands.h"
#include "tools/conntrack/names.h"

namespace weir::tools::conntrack {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPeriod = std::chrono::seconds(1);
constexpr int kFrameRows = 4;  // Around the table.

volatile std::sig_atomic_t g_stopped = 0;

void on_stop(int) { g_stopped = 1; }

/// The terminal without line editing and on its other screen, as long as this lives.
class Terminal {
 public:
  Terminal() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fmt::print("\x1b[?1049h\x1b[?25l");
  }
  ~Terminal() {
    fmt::print("\x1b[?25h\x1b[?1049l");
    std::fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  static winsize size() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return {24, 80, 0, 0};
    return size;
  }

 private:
  termios before_{};
};

enum class Order { bytes, rate, source, state };

struct Row {
  std::string protocol, state, source, destination;
  std::uint64_t packets = 0, bytes = 0;
  double bytes_per_second = 0;

  std::string text() const {
    return fmt::format("{:<7} {:<11} {:<19} {}", protocol, state, source, destination);
  }
};

std::string end_point(const std::optional<Address>& address,
                      const std::optional<std::uint16_t>& port) {
  const std::string host = address ? address->text() : "-";
  if (!port) return host;
  return address && address->family == AF_INET6 ? fmt::format("[{}]:{}", host, *port)
                                                : fmt::format("{}:{}", host, *port);
}

Row row_of(const Flow& flow) {
  Row row;
  const std::uint8_t protocol = flow.original.protocol.value_or(0);
  const std::string_view name = protocol_name(protocol);
  row.protocol = name == "unknown" ? fmt::to_string(protocol) : std::string(name);
  if (flow.tcp_state) row.state = name_in(tcp_states(), *flow.tcp_state);
  if (flow.sctp_state) row.state = name_in(sctp_states(), *flow.sctp_state);
  if (flow.dccp_state) row.state = name_in(dccp_states(), *flow.dccp_state);
  row.source = end_point(flow.original.src, flow.original.src_port);
  row.destination = end_point(flow.original.dst, flow.original.dst_port);
  for (const auto& counters : {flow.original_counters, flow.reply_counters}) {
    row.packets += counters.value_or(Counters{}).packets;
    row.bytes += counters.value_or(Counters{}).bytes;
  }
  return row;
}

std::string short_number(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
  std::size_t unit = 0;
  for (; value >= 10000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.0f}{}", value, kUnits[unit]);
}

bool contains(const std::string& text, const std::string& part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) ==
                  std::tolower(static_cast<unsigned char>(b));
         }) != text.end();
}

class Top {
 public:
  Top(const Request& request, NetlinkSocket& socket) : request_(request), socket_(socket) {}

  Result<void> run();

 private:
  Result<void> read_table();
  void draw() const;
  void wait(Clock::time_point until);
  void take_key(char key);

  const Request& request_;
  NetlinkSocket& socket_;
  std::vector<Row> rows_;
  std::unordered_map<std::string, std::uint64_t> bytes_before_;
  Clock::time_point read_at_{};
  Order order_ = Order::rate;
  std::string filter_;
  bool edits_filter_ = false;
  bool ends_ = false;
};

Result<void> Top::read_table() {
  std::unordered_map<std::string, std::uint64_t> bytes_now;
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> passed = now - read_at_;
  rows_.clear();
  auto done = dump_table(request_, socket_, [&](const netlink::Message& message) {
    const Flow flow = read_flow(message);
    if (!matches(request_, flow)) return;
    Row row = row_of(flow);
    std::string key = row.text();
    if (const auto before = bytes_before_.find(key);
        before != bytes_before_.end() && row.bytes >= before->second)
      row.bytes_per_second = static_cast<double>(row.bytes - before->second) / passed.count();
    bytes_now.emplace(std::move(key), row.bytes);
    rows_.push_back(std::move(row));
  });
  bytes_before_ = std::move(bytes_now);
  read_at_ = now;
  return done;
}

void Top::draw() const {
  std::vector<const Row*> shown;
  for (const Row& row : rows_) {
    if (filter_.empty() || contains(row.text(), filter_)) shown.push_back(&row);
  }
  const winsize screen = Terminal::size();
  const std::size_t fit = std::min<std::size_t>(
      shown.size(), static_cast<std::size_t>(std::max(0, screen.ws_row - kFrameRows)));
  const auto before = [this](const Row* a, const Row* b) {
    switch (order_) {
      case Order::bytes:
        return a->bytes > b->bytes;
      case Order::rate:
        return a->bytes_per_second != b->bytes_per_second
                   ? a->bytes_per_second > b->bytes_per_second
                   : a->bytes > b->bytes;
      case Order::source:
        return a->source < b->source;
      case Order::state:
        return a->state != b->state ? a->state < b->state : a->bytes > b->bytes;
    }
    return false;
  };
  std::partial_sort(shown.begin(), shown.begin() + static_cast<std::ptrdiff_t>(fit), shown.end(),
                    before);

  std::string out = "\x1b[H";
  const auto add_line = [&](std::string line) {
    if (line.size() > screen.ws_col) line.resize(screen.ws_col);
    out += line + "\x1b[K\n";
  };
  constexpr const char* kOrders[] = {"bytes", "rate", "source", "state"};
  add_line(fmt::format("{} connections, {} shown, by {}", rows_.size(), shown.size(),
                       kOrders[static_cast<int>(order_)]));
  add_line(edits_filter_ || !filter_.empty()
               ? fmt::format("filter: {}{}", filter_, edits_filter_ ? "_" : "")
               : "b bytes  r rate  s source  t state  / filter  q quit");
  out += "\x1b[7m";
  add_line(fmt::format("{:>6} {:>6} {:>6} {:<7} {:<11} {:<19} {}", "B/s", "bytes", "pkts", "proto",
                       "state", "source", "destination"));
  out += "\x1b[0m";
  for (std::size_t i = 0; i < fit; ++i) {
    add_line(fmt::format("{:>6} {:>6} {:>6} {}", short_number(shown[i]->bytes_per_second),
                         short_number(static_cast<double>(shown[i]->bytes)),
                         short_number(static_cast<double>(shown[i]->packets)), shown[i]->text()));
  }
  out += "\x1b[J";
  fmt::print("{}", out);
  std::fflush(stdout);
}

void Top::take_key(char key) {
  if (edits_filter_) {
    if (key == '\n' || key == '\r') {
      edits_filter_ = false;
    } else if (key == '\x1b') {
      filter_.clear();
      edits_filter_ = false;
    } else if (key == '\x7f' || key == '\b') {
      if (!filter_.empty()) filter_.pop_back();
    } else if (std::isprint(static_cast<unsigned char>(key))) {
      filter_ += key;
    }
    return;
  }
  switch (key) {
    case 'b':
      order_ = Order::bytes;
      return;
    case 'r':
      order_ = Order::rate;
      return;
    case 's':
      order_ = Order::source;
      return;
    case 't':
      order_ = Order::state;
      return;
    case '/':
      edits_filter_ = true;
      return;
    case '\x1b':
      filter_.clear();
      return;
    case 'q':
      ends_ = true;
      return;
    default:
      return;
  }
}

/// Takes keys until it is time to read the table again.
void Top::wait(Clock::time_point until) {
  while (!ends_ && g_stopped == 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return;
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (poll(&input, 1, static_cast<int>(left.count())) <= 0) continue;
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) != 1) {
      ends_ = true;
      return;
    }
    take_key(key);
    draw();
  }
}

Result<void> Top::run() {
  Terminal terminal;
  std::signal(SIGINT, on_stop);
  std::signal(SIGTERM, on_stop);
  while (!ends_ && g_stopped == 0) {
    const Clock::time_point begun = Clock::now();
    if (auto read = read_table(); !read) return read;
    draw();
    // A table of millions takes longer to read: at most half of the time goes into that.
    wait(begun + std::max<Clock::duration>(kPeriod, 2 * (Clock::now() - begun)));
  }
  return {};
}

}  // namespace

Result<void> show_top(const Request& request, NetlinkSocket& socket) {
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
    return std::unexpected(Error{
        ENOTTY, "top needs a terminal; `weir conntrack -L --group-by src` works without one"});
  }
  return Top(request, socket).run();
}

}  // namespace weir::tools::conntrack
