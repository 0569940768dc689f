// A real catalog (SQLite) in a folder of its own, on time that the test moves.

#pragma once

#include <memory>
#include <string>

#include "base/assert.h"
#include "base/random.h"
#include "catalog/catalog.h"
#include "testing/fake_clock.h"
#include "testing/temp_folder.h"

namespace holdfast::testing {

class TempCatalog {
 public:
  TempCatalog() {
    auto opened = OpenCatalog({}, {.url = url(), .password = {}, .ca_file = {}}, clock_, random_);
    HF_ASSERT(opened.ok());
    catalog_ = *std::move(opened);
  }

  Catalog& operator*() noexcept { return *catalog_; }
  Catalog* operator->() noexcept { return catalog_.get(); }
  /// The database's clock: moving it past a lease's term lets the lease expire.
  FakeClock& clock() noexcept { return clock_; }
  std::string url() const { return "sqlite://" + (folder_.path() / "catalog.db").string(); }

 private:
  TempFolder folder_{TempFolder::Place::kMemory};
  FakeClock clock_;
  Random random_{1};
  std::unique_ptr<Catalog> catalog_;
};

}  // namespace holdfast::testing
