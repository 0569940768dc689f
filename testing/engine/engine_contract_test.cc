#include "testing/engine_contract.h"

#include "testing/engine/transfers_contract.h"
#include "testing/engine_point_contract.h"
#include "testing/engine_reshard_contract.h"

namespace holdfast::testing {
namespace {

const EngineUnderTest kScripted{.name = "Scripted", .make = &MakeScriptedHarness};
const EngineUnderTest kSandbox{.name = "Sandbox", .make = &MakeSandboxHarness};
const EngineUnderTest kReal{.name = "RealServer", .make = &MakeRealHarness};
const auto kClusters = ::testing::Values(kScripted, kSandbox, kReal);

INSTANTIATE_TEST_SUITE_P(Clusters, EngineContract, kClusters, EngineName());
INSTANTIATE_TEST_SUITE_P(Clusters, VectorsContract, ::testing::Values(kSandbox, kReal),
                         EngineName());
INSTANTIATE_TEST_SUITE_P(Clusters, ReshardContract, kClusters, EngineName());

}  // namespace
}  // namespace holdfast::testing
