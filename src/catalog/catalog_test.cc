#include "catalog/catalog.h"

#include "testing/catalog_contract.h"

namespace holdfast::testing {

INSTANTIATE_TEST_SUITE_P(Databases, CatalogContract, EveryCatalog(),
                         [](const auto& test) { return CatalogBackendName(test.param); });

TEST(CatalogOnAnyServer, RunsWhereTheEnvironmentNamesOne) {
  auto harness = MakeCatalogHarness(CatalogBackend::kExternal);
  if (!harness.ok() && harness.error().code() == ErrorCode::kUnsupported) {
    GTEST_SKIP() << "TiDB and others are not tested here: " << harness.error().ToString();
  }
  ASSERT_TRUE(harness.ok()) << harness.error().ToString();
}

}  // namespace holdfast::testing
