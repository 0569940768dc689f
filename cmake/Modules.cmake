# The modules, lowest first, as in the table of ARCHITECTURE.md. A module uses only what its row
# names: the linker proves it (link.<name>), tools/lint_layers.py reads these rows and proves it for
# every #include. SYSTEM names the third-party libraries that this module alone may include.

holdfast_module(base SYSTEM spdlog)
holdfast_module(exec DEPS base)
holdfast_module(model DEPS base SYSTEM nlohmann_json)
holdfast_module(plan DEPS base model SYSTEM nlohmann_json)
holdfast_module(catalog DEPS base model SYSTEM sqlite3 libmariadb nlohmann_json)
holdfast_module(stream DEPS base exec SYSTEM openssl zstd libsodium TEST_SYSTEM libarchive)
holdfast_module(http DEPS base exec stream SYSTEM libcurl)
holdfast_module(store DEPS base exec stream http SYSTEM pugixml)
holdfast_module(engine DEPS base exec model stream http SYSTEM nlohmann_json)
holdfast_module(repo DEPS base exec model stream store SYSTEM nlohmann_json)
holdfast_module(job DEPS base exec model catalog SYSTEM nlohmann_json)
holdfast_module(ops
  DEPS base exec model plan catalog stream store engine repo job
  SYSTEM nlohmann_json)
holdfast_module(service
  DEPS base exec model plan catalog stream http store engine repo job ops
  SYSTEM nlohmann_json tomlplusplus)

holdfast_app(holdfast DEPS base model job service SYSTEM cli11 nlohmann_json)
