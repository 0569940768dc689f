// The concrete drivers behind a Service, each opened on first use.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "engine/engine.h"
#include "exec/cpu_pool.h"
#include "http/client.h"
#include "ops/fence.h"
#include "repo/repository.h"
#include "service/config.h"
#include "store/object_store.h"

namespace holdfast {

/// The first line of a file, without its end. kConfiguration when it cannot be read or is empty;
/// warns nobody about its mode: `check` does.
Result<Secret> ReadSecretFile(const std::string& path);

/// What is wrong with the rights of a secret file, for `check`; empty when nothing is, and when the
/// file is not there.
std::string WhoElseReads(const std::string& path);

/// A store for `repository`, with retries; read-only where it is configured so. `create` makes a
/// missing directory (init only). Everything it needs lives in the object that is returned.
struct OpenedStore {
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ObjectStore> driver;
  /// Between the two, where writes are refused.
  std::unique_ptr<ObjectStore> read_only;
  std::unique_ptr<ObjectStore> store;
};
Result<OpenedStore> OpenStore(const RepositoryConfig& repository, Clock& clock, Random& random,
                              bool create);

Result<std::unique_ptr<Repository>> OpenRepository(const CallContext& call,
                                                   const RepositoryConfig& config,
                                                   ObjectStore& store);
Result<std::unique_ptr<Catalog>> OpenConfiguredCatalog(const CallContext& call,
                                                       const CatalogConfig& config, Clock& clock,
                                                       Random& random);

/// Secrets of a cluster are read anew for each command.
Result<std::unique_ptr<Engine>> OpenEngine(const CallContext& call, const ClusterConfig& config,
                                           Clock& clock);

/// What a holdfast-engine gets of it: where programs and Python's packages are. Credentials and
/// passwords may stand in the rest.
std::vector<std::string> EngineEnvironment(const Environment& all);

/// Where unlinked temporary files go when the configuration does not say.
std::string DefaultSpoolDirectory();

}  // namespace holdfast
