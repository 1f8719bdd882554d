#include "tools/exec.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/exit_code.h"
#include "base/preload_library.h"
#include "preload/protocol.h"

/// LD_PRELOAD does the work, so what must be made sure here is that it will: the loader ignores it,
/// silently, for static programs and for those that raise privileges, and then the tool would talk
/// to the kernel's netfilter behind the user's back.
namespace weir::tools {
namespace {

constexpr const char* kHelp =
    "Usage: weir exec [--socket PATH] -- TOOL [ARGS…]\n\n"
    "Runs an unmodified netfilter tool against the engine instead of the kernel.\n\n"
    "  --socket PATH  the engine's socket (default: ${}, else {})\n\n"
    "The tool's children reach the engine too. Everything else that it does is as always.\n\n"
    "Examples:\n"
    "  weir exec -- conntrack -L\n"
    "  weir exec -- nft -f gateway.nft\n"
    "  weir exec --socket /tmp/weir.sock -- conntrack -E\n"
    "  weir exec -- bash          # every tool started from this shell\n";

struct Arguments {
  std::string socket;
  char** tool = nullptr;
};

/// The command line, or the exit code when it asks for help or is wrong.
struct Parsed {
  std::optional<int> exit_code;
  Arguments arguments;
};

void print_help(FILE* to) { fmt::print(to, kHelp, WEIR_SOCKET_VARIABLE, WEIR_SOCKET_DEFAULT); }

Parsed usage_error(std::string_view what) {
  fmt::print(stderr, "weir exec: {}\n\n", what);
  print_help(stderr);
  return {.exit_code = kWrongUsage, .arguments = {}};
}

Parsed parse(int argc, char** argv) {
  Arguments arguments;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    const std::string_view option = argv[at];
    if (option == "--") {
      ++at;
      break;
    }
    if (option == "--help" || option == "-h") {
      print_help(stdout);
      return {.exit_code = 0, .arguments = {}};
    }
    if (option.starts_with("--socket=")) {
      arguments.socket = option.substr(9);
    } else if (option == "--socket" && at + 1 < argc) {
      arguments.socket = argv[++at];
    } else {
      return usage_error(fmt::format("unknown or incomplete option {}", option));
    }
  }
  if (at >= argc) return usage_error("no tool is named");
  arguments.tool = argv + at;
  return {.exit_code = {}, .arguments = arguments};
}

/// Where execvp would find the tool.
std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* search = std::getenv("PATH");
  std::string_view rest = search ? search : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
  while (true) {
    const std::size_t colon = rest.find(':');
    const std::string_view directory = rest.substr(0, colon);
    std::string path = fmt::format("{}/{}", directory.empty() ? "." : directory, name);
    if (access(path.c_str(), X_OK) == 0) return path;
    if (colon == std::string_view::npos) return {};
    rest.remove_prefix(colon + 1);
  }
}

/// The beginning of a file, enough for its ELF and program headers or its #! line.
std::string read_beginning(const std::string& path) {
  std::string bytes(4096, '\0');
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t got = pread(file, bytes.data(), bytes.size(), 0);
  close(file);
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

std::string interpreter_of(const std::string& script) {
  const std::size_t begin = script.find_first_not_of(" \t", 2);
  if (begin == std::string::npos) return {};
  return script.substr(begin, script.find_first_of(" \t\r\n", begin) - begin);
}

/// Whether an ELF program names a dynamic loader, which is what reads LD_PRELOAD.
bool names_a_loader(const std::string& elf) {
  Elf64_Ehdr header;
  if (elf.size() < sizeof header) return false;
  std::memcpy(&header, elf.data(), sizeof header);
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    const std::size_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    if (at > elf.size() || elf.size() - at < sizeof(Elf64_Phdr)) return false;
    Elf64_Phdr segment;
    std::memcpy(&segment, elf.data() + at, sizeof segment);
    if (segment.p_type == PT_INTERP) return true;
  }
  return false;
}

/// Why the loader would ignore the library for this program; nothing when it will not.
std::optional<std::string> objection(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) < 0) return {};
  const bool raises_user = status.st_mode & S_ISUID && status.st_uid != getuid();
  const bool raises_group = status.st_mode & S_ISGID && status.st_gid != getgid();
  if (raises_user || raises_group) return "it is setuid or setgid";
  if (getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) {
    return "it has file capabilities";
  }
  const std::string beginning = read_beginning(path);
  if (beginning.starts_with("#!")) {
    const std::string interpreter = interpreter_of(beginning);
    return interpreter.empty() || interpreter == path ? std::nullopt : objection(interpreter);
  }
  if (!beginning.starts_with(ELFMAG)) return {};
  if (beginning[EI_CLASS] != ELFCLASS64) return "it is not a 64-bit program";
  if (!names_a_loader(beginning)) return "it is statically linked";
  return {};
}

int refuse(const std::string& what) {
  fmt::print(stderr, "weir exec: {}\n", what);
  return kRefused;
}

/// The tool and its children may go to other directories.
std::string absolute(const std::string& path) {
  char here[PATH_MAX];
  if (path.starts_with('/') || !getcwd(here, sizeof here)) return path;
  return fmt::format("{}/{}", here, path);
}

void preload(const std::string& library) {
  const char* before = std::getenv("LD_PRELOAD");
  const std::string all = before && *before ? fmt::format("{}:{}", library, before) : library;
  setenv("LD_PRELOAD", all.c_str(), 1);
}

}  // namespace

int exec_main(int argc, char** argv) {
  const Parsed parsed = parse(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  const Arguments& arguments = parsed.arguments;
  const std::string tool = arguments.tool[0];

  const auto library = find_preload_library();
  if (!library) return refuse(library.error().text);
  const auto program = find_program(tool);
  if (!program) return refuse(fmt::format("cannot find the program {}", tool));
  if (const auto why = objection(*program)) {
    return refuse(fmt::format(
        "{} would reach the kernel, not the engine: {}, so the system ignores the preload library",
        *program, *why));
  }
  preload(*library);
  if (arguments.socket.empty()) {
    setenv(WEIR_SOCKET_VARIABLE, WEIR_SOCKET_DEFAULT, 0);
  } else {
    setenv(WEIR_SOCKET_VARIABLE, absolute(arguments.socket).c_str(), 1);
  }
  execv(program->c_str(), arguments.tool);
  return refuse(fmt::format("cannot run {}: {}", *program, std::strerror(errno)));
}

}  // namespace weir::tools
