#include "control/server/socket_filter.h"

#include <array>
#include <cerrno>
#include <optional>

#include "base/endian.h"
#include "netlink/attributes.h"

namespace weir::control {
namespace {

constexpr std::uint32_t kWords = BPF_MEMWORDS;

bool is_known(std::uint16_t code) {
  switch (code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_B | BPF_MSH:
    case BPF_LDX | BPF_IMM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_ALU | BPF_NEG:
    case BPF_JMP | BPF_JA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
      return true;
    default:
      break;
  }
  const std::uint16_t operation = BPF_OP(code);
  if (code & ~(0x07 | 0xf0 | BPF_X)) return false;
  if (BPF_CLASS(code) == BPF_ALU) return operation <= BPF_XOR && operation != BPF_NEG;
  if (BPF_CLASS(code) == BPF_JMP) return operation >= BPF_JEQ && operation <= BPF_JSET;
  return false;
}

bool uses_memory(std::uint16_t code) {
  return code == BPF_ST || code == BPF_STX || code == (BPF_LD | BPF_MEM) ||
         code == (BPF_LDX | BPF_MEM);
}

/// What must hold of an instruction whatever comes before it. `left`: instructions after it.
bool is_sound(const sock_filter& instruction, std::size_t left) {
  if (!is_known(instruction.code)) return false;
  if (uses_memory(instruction.code)) return instruction.k < kWords;
  switch (instruction.code) {
    case BPF_ALU | BPF_DIV | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_K:
      return instruction.k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
      return instruction.k < 32;
    case BPF_JMP | BPF_JA:
      return instruction.k < left;
    default:
      break;
  }
  if (BPF_CLASS(instruction.code) == BPF_JMP) {
    return instruction.jt < left && instruction.jf < left;
  }
  return true;
}

/// One run over one datagram.
class Machine {
 public:
  Machine(std::span<const sock_filter> program, Bytes packet)
      : program_(program), packet_(packet) {}

  std::uint32_t run() {
    for (std::size_t at = 0; at < program_.size(); ++at) {
      const sock_filter& instruction = program_[at];
      switch (BPF_CLASS(instruction.code)) {
        case BPF_RET:
          return BPF_RVAL(instruction.code) == BPF_A ? a_ : instruction.k;
        case BPF_JMP:
          at += jump(instruction);
          break;
        case BPF_ALU:
          if (!compute(instruction)) return 0;
          break;
        case BPF_ST:
          memory_[instruction.k] = a_;
          break;
        case BPF_STX:
          memory_[instruction.k] = x_;
          break;
        case BPF_MISC:
          BPF_MISCOP(instruction.code) == BPF_TAX ? x_ = a_ : a_ = x_;
          break;
        default:
          if (!load_register(instruction)) return 0;
      }
    }
    return 0;
  }

 private:
  std::uint32_t operand(const sock_filter& instruction) const {
    return BPF_SRC(instruction.code) == BPF_X ? x_ : instruction.k;
  }

  std::size_t jump(const sock_filter& instruction) const {
    if (BPF_OP(instruction.code) == BPF_JA) return instruction.k;
    const std::uint32_t with = operand(instruction);
    bool is_taken = false;
    switch (BPF_OP(instruction.code)) {
      case BPF_JEQ:
        is_taken = a_ == with;
        break;
      case BPF_JGT:
        is_taken = a_ > with;
        break;
      case BPF_JGE:
        is_taken = a_ >= with;
        break;
      case BPF_JSET:
        is_taken = a_ & with;
        break;
    }
    return is_taken ? instruction.jt : instruction.jf;
  }

  /// False for a division by zero, which ends the run.
  bool compute(const sock_filter& instruction) {
    const std::uint32_t with = operand(instruction);
    switch (BPF_OP(instruction.code)) {
      case BPF_ADD:
        a_ += with;
        break;
      case BPF_SUB:
        a_ -= with;
        break;
      case BPF_MUL:
        a_ *= with;
        break;
      case BPF_DIV:
        if (!with) return false;
        a_ /= with;
        break;
      case BPF_MOD:
        if (!with) return false;
        a_ %= with;
        break;
      case BPF_AND:
        a_ &= with;
        break;
      case BPF_OR:
        a_ |= with;
        break;
      case BPF_XOR:
        a_ ^= with;
        break;
      case BPF_LSH:
        a_ <<= with & 31;
        break;
      case BPF_RSH:
        a_ >>= with & 31;
        break;
      case BPF_NEG:
        a_ = -a_;
        break;
    }
    return true;
  }

  bool load_register(const sock_filter& instruction) {
    const bool is_x = BPF_CLASS(instruction.code) == BPF_LDX;
    std::uint32_t& to = is_x ? x_ : a_;
    switch (BPF_MODE(instruction.code)) {
      case BPF_IMM:
        to = instruction.k;
        return true;
      case BPF_MEM:
        to = memory_[instruction.k];
        return true;
      case BPF_LEN:
        to = static_cast<std::uint32_t>(packet_.size());
        return true;
      case BPF_MSH: {
        const auto byte = read(instruction.k, BPF_B);
        if (!byte) return false;
        x_ = (*byte & 0xf) << 2;
        return true;
      }
      default:
        return load_packet(instruction);
    }
  }

  bool load_packet(const sock_filter& instruction) {
    if (BPF_MODE(instruction.code) == BPF_ABS) {
      if (const auto value = extension(instruction.k)) {
        a_ = *value;
        return true;
      }
    }
    const std::uint32_t base = BPF_MODE(instruction.code) == BPF_IND ? x_ : 0;
    const auto value = read(std::uint64_t{base} + instruction.k, BPF_SIZE(instruction.code));
    if (!value) return false;
    a_ = *value;
    return true;
  }

  /// Big-endian, as classic BPF reads. Nothing beyond the datagram.
  std::optional<std::uint32_t> read(std::uint64_t at, int size) const {
    const std::size_t bytes = size == BPF_W ? 4 : size == BPF_H ? 2 : 1;
    if (at > packet_.size() || packet_.size() - at < bytes) return {};
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | packet_[at + i];
    return value;
  }

  /// The kernel's extensions that mean something for netlink: A = the offset of the attribute of
  /// type X in the list that begins at A, or in the nest at A; zero when there is none.
  std::optional<std::uint32_t> extension(std::uint32_t k) const {
    switch (k) {
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL):
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_MARK):
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_QUEUE):
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU):
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RXHASH):
        return 0;
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR):
        return find_attribute(a_, packet_.size());
      case static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_NLATTR_NEST):
        return find_in_nest();
      default:
        return {};
    }
  }

  std::uint32_t find_attribute(std::size_t from, std::size_t end) const {
    if (from > end || end - from < netlink::Attribute::kHeaderBytes) return 0;
    const netlink::Region region(packet_.subspan(from, end - from),
                                 static_cast<std::uint32_t>(from));
    for (const netlink::Attribute& attribute : region) {
      if (attribute.type() == x_) return attribute.offset();
    }
    return 0;
  }

  std::uint32_t find_in_nest() const {
    if (packet_.size() < sizeof(nlattr) || a_ > packet_.size() - sizeof(nlattr)) return 0;
    const auto nest = load<nlattr>(packet_.data() + a_);
    if (nest.nla_len > packet_.size() - a_ || nest.nla_len < sizeof(nlattr)) return 0;
    return find_attribute(a_ + sizeof(nlattr), a_ + std::size_t{nest.nla_len});
  }

  std::span<const sock_filter> program_;
  Bytes packet_;
  std::uint32_t a_ = 0;
  std::uint32_t x_ = 0;
  std::array<std::uint32_t, kWords> memory_{};
};

}  // namespace

Result<SocketFilter> SocketFilter::check(std::span<const sock_filter> program) {
  if (program.empty() || program.size() > BPF_MAXINSNS) {
    return std::unexpected(Error{EINVAL, "a socket filter has between 1 and 4096 instructions"});
  }
  for (std::size_t i = 0; i < program.size(); ++i) {
    if (!is_sound(program[i], program.size() - 1 - i)) {
      return std::unexpected(Error{EINVAL, "the socket filter has an invalid instruction"});
    }
  }
  if (BPF_CLASS(program.back().code) != BPF_RET) {
    return std::unexpected(Error{EINVAL, "the socket filter does not end by returning"});
  }
  return SocketFilter(program);
}

std::uint32_t SocketFilter::run(Bytes datagram) const {
  if (program_.empty()) return ~std::uint32_t{0};
  return Machine(program_, datagram).run();
}

}  // namespace weir::control
