#pragma once

#include <string>

#include "base/error.h"

namespace weir {

/// A fresh folder in $TMPDIR (else /tmp), readable by its user alone, that goes with its owner and
/// all that is in it.
class TemporaryFolder {
 public:
  /// "weir-NAME-" and six random letters. Errors: what mkdtemp says.
  static Result<TemporaryFolder> make(const std::string& name);

  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit TemporaryFolder(std::string path);

  std::string path_;  // Empty once moved from.
};

}  // namespace weir
