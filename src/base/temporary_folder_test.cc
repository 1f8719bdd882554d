#include "base/temporary_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <utility>

namespace weir {
namespace {

TEST(TemporaryFolder, GoesWithItsOwnerAndAllThatIsInIt) {
  std::string path;
  {
    auto made = TemporaryFolder::make("test");
    ASSERT_TRUE(made) << made.error().text;
    path = made->path();
    std::ofstream(made->file("inside")) << "text";
    const TemporaryFolder moved = std::move(*made);
    EXPECT_TRUE(std::filesystem::exists(moved.file("inside")));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TemporaryFolder, ThatCannotBeMadeIsAnErrorAndRemovesNothing) {
  EXPECT_FALSE(TemporaryFolder::make("no/such/folder"));
  EXPECT_TRUE(std::filesystem::exists("."));
}

}  // namespace
}  // namespace weir
