#include "routing/types.h"

#include <net/if.h>

namespace weir::routing {

namespace {
constexpr std::uint32_t kLowerUp = 1u << 16;  // IFF_LOWER_UP, which <net/if.h> lacks.
}  // namespace

bool Link::is_up() const { return (flags & IFF_UP) != 0; }
bool Link::has_carrier() const { return (flags & kLowerUp) != 0; }
bool Link::is_loopback() const { return (flags & IFF_LOOPBACK) != 0; }

}  // namespace weir::routing
