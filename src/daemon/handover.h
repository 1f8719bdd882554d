#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "control/server/server.h"

/// `weir run --replace`: a new engine takes the place of one that runs, on the same state folder.
///
/// The running engine listens at FOLDER/handover (SOCK_SEQPACKET; root and its own user only). The
/// new one says, one message at a time:
///
///     hello    → the descriptors of the state's lock and of the tools' socket and its lock, so that
///                neither is ever free; and whether devices have to be closed before others open them.
///                The new engine makes everything ready: table, rules, routes, ports.
///     ports      it opens them beside ours (no answer).
///     stop     → the old one has stopped its workers and saved its rules: nobody changes the state.
///     leave    the old one goes, and leaves the host as it is.
///
/// Until it says leave, the new engine can give up, by ending: the old one then goes on.
namespace weir::daemon {

enum class HandoverStep : std::uint32_t { hello = 1, ports, stop, leave };

/// One message, either way; the answer to a step has its number.
struct HandoverMessage {
  static constexpr std::uint32_t kMagic = 0x6f766572;  // "revo" in memory.
  static constexpr std::uint32_t kVersion = 1;

  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  HandoverStep step = HandoverStep::hello;
  std::int32_t error = 0;         // An errno; `text` says more.
  std::uint32_t has_exclusive_devices = 0;  // Of hello's answer.
  std::array<char, 512> text{};
};

/// What goes from engine to engine beside the state itself.
struct HandoverDescriptors {
  FileDescriptor state_lock;
  FileDescriptor listener;
  FileDescriptor listener_lock;
};

/// The running engine's side. Belongs to the control thread.
class Handover final : public control::Watcher {
 public:
  /// What the engine does at each step.
  struct Host {
    /// Descriptors stay the engine's.
    std::function<std::array<int, 3>()> descriptors;  // In HandoverDescriptors' order.
    std::function<bool()> has_exclusive_devices;  // That one engine only can have open.
    std::function<Result<void>()> stop;
    std::function<void()> go_on;  // The new engine has given up after it had opened the ports.
  };

  /// Listens in the folder. Errors: what the system calls say.
  static Result<std::unique_ptr<Handover>> open(const std::string& folder, control::Server& server,
                                                Host host);
  ~Handover() override;

  /// The new engine has our place: leave without undoing anything.
  bool is_replaced() const { return is_replaced_; }
  /// The socket's file goes with us. Not when another engine has made its own by then.
  void remove_file();

 private:
  Handover(std::string path, control::Server& server, Host host)
      : path_(std::move(path)), server_(server), host_(std::move(host)) {}

  void on_readable() override;
  void accept_one();
  void serve(HandoverStep step);
  void answer(HandoverMessage message, std::vector<int> descriptors = {});
  void finish_stop();
  void give_up_on();

  std::string path_;
  control::Server& server_;
  Host host_;
  FileDescriptor listener_;
  FileDescriptor successor_;  // The new engine, while there is one.
  bool has_opened_ports_ = false;
  bool is_replaced_ = false;
};

/// The new engine's side.
class Takeover {
 public:
  /// Says hello. Errors: ENOENT when no engine runs on the folder; EPROTO when it is another
  /// version's; what it answers.
  static Result<Takeover> begin(const std::string& folder);

  HandoverDescriptors& descriptors() { return descriptors_; }
  /// Whether there are devices that can only be opened once the old engine has stopped.
  bool has_exclusive_devices() const { return has_exclusive_devices_; }

  /// Before any port is opened.
  void announce_ports() { say(HandoverStep::ports); }
  /// Afterwards the old engine waits, and changes nothing any more. Errors: what it answers.
  Result<void> stop();
  bool has_stopped() const { return has_stopped_; }
  /// From now on there is no way back.
  void leave();

 private:
  bool say(HandoverStep step);
  explicit Takeover(FileDescriptor socket) : socket_(std::move(socket)) {}
  Result<HandoverMessage> call(HandoverStep step, std::vector<FileDescriptor>& descriptors);

  FileDescriptor socket_;
  HandoverDescriptors descriptors_;
  bool has_exclusive_devices_ = false;
  bool has_stopped_ = false;
};

}  // namespace weir::daemon
