#include "testing/engine_contract.h"

#include "testing/engine/transfers_contract.h"
#include "testing/engine_point_contract.h"
#include "testing/engine_reshard_contract.h"

namespace holdfast::testing {
namespace {

const auto kClusters =
    ::testing::Values(EngineUnderTest{.name = "Scripted", .make = &MakeScriptedHarness},
                      EngineUnderTest{.name = "Sandbox", .make = &MakeSandboxHarness},
                      EngineUnderTest{.name = "RealServer", .make = &MakeRealHarness});

INSTANTIATE_TEST_SUITE_P(Clusters, EngineContract, kClusters, EngineName());
INSTANTIATE_TEST_SUITE_P(Clusters, ReshardContract, kClusters, EngineName());

}  // namespace
}  // namespace holdfast::testing
