#include "testing/engine_contract.h"

namespace holdfast::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Clusters, EngineContract,
    ::testing::Values(EngineUnderTest{.name = "Scripted", .make = &MakeScriptedHarness},
                      EngineUnderTest{.name = "Sandbox", .make = &MakeSandboxHarness},
                      EngineUnderTest{.name = "RealServer", .make = &MakeRealHarness}),
    EngineName());

}  // namespace
}  // namespace holdfast::testing
