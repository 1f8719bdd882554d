#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "control/server/server.h"

/// For the tests of this folder: a server in a thread of its own, a subsystem that does what a test
/// tells it, and a client that speaks the preload library's protocol by loading it.
namespace weir::control::testing {

/// A directory that goes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/weir-server-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryDirectory() {
    const std::string command = "rm -rf " + path_;
    if (std::system(command.c_str()) != 0) ADD_FAILURE() << "cannot remove " << path_;
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Runs a server until it is destroyed. The test may touch the server itself only through post().
class ServerThread {
 public:
  explicit ServerThread(const Server::Options& options) {
    auto server = Server::open(options);
    EXPECT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
  }
  ~ServerThread() { stop(); }

  Server& server() { return *server_; }  ///< Before start() or after stop().

  void start() {
    thread_ = std::thread([this] {
      while (!is_stopping_) {
        server_->serve_once(std::chrono::milliseconds(200));
        if (auto* job = job_.exchange(nullptr)) {
          (*job)();
          is_job_done_ = true;
        }
      }
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    is_stopping_ = true;
    server_->wake();
    thread_.join();
  }
  /// Runs `job` on the control thread and waits for it.
  void post(std::function<void()> job) {
    is_job_done_ = false;
    job_ = &job;
    server_->wake();
    while (!is_job_done_) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

 private:
  std::unique_ptr<Server> server_;
  std::thread thread_;
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> is_job_done_ = false;
  std::atomic<std::function<void()>*> job_ = nullptr;
};

struct Output {
  int status = -1;  ///< Exit status, or -1 when it was killed.
  std::string text;
};

/// Runs a shell command; what it prints to both outputs.
inline Output run(const std::string& command) {
  Output output;
  std::FILE* pipe = popen(("exec 2>&1; " + command).c_str(), "r");
  if (!pipe) return output;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) {
    output.text.append(buffer, got);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) output.status = WEXITSTATUS(status);
  return output;
}

/// The preload library of this build, which lies beside the test program.
inline std::string preload_library() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  const std::string whole(path, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  return whole.substr(0, whole.rfind('/')) + "/libweir-preload.so";
}

/// Runs an unmodified tool against the server.
inline Output run_tool(const std::string& socket, const std::string& command) {
  return run("WEIR_SOCKET=" + socket + " LD_PRELOAD=" + preload_library() + " timeout 20 " +
             command);
}

}  // namespace weir::control::testing
