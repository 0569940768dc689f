# The libraries of the system that a module may name after SYSTEM, each as holdfast_sys_<name>.
# Which headers belong to which name stands in tools/lint_layers.py (SYSTEM_HEADERS).

find_package(PkgConfig REQUIRED)

function(holdfast_system_library NAME)
  cmake_parse_arguments(ARG "" "PKG" "LINK" ${ARGN})
  add_library(holdfast_sys_${NAME} INTERFACE)
  if(ARG_PKG)
    pkg_check_modules(PC_${NAME} REQUIRED IMPORTED_TARGET ${ARG_PKG})
    target_link_libraries(holdfast_sys_${NAME} INTERFACE PkgConfig::PC_${NAME})
  endif()
  if(ARG_LINK)
    target_link_libraries(holdfast_sys_${NAME} INTERFACE ${ARG_LINK})
  endif()
endfunction()

find_package(CURL REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest REQUIRED)

holdfast_system_library(fmt PKG fmt)
holdfast_system_library(spdlog PKG spdlog)
holdfast_system_library(nlohmann_json LINK nlohmann_json::nlohmann_json)
holdfast_system_library(sqlite3 PKG sqlite3)
holdfast_system_library(libmariadb PKG libmariadb)
holdfast_system_library(openssl LINK OpenSSL::Crypto)
holdfast_system_library(zstd PKG libzstd)
holdfast_system_library(libsodium PKG libsodium)
holdfast_system_library(libcurl LINK CURL::libcurl)
holdfast_system_library(pugixml PKG pugixml)
holdfast_system_library(tomlplusplus PKG tomlplusplus)
holdfast_system_library(cli11 LINK CLI11::CLI11)
# Tests only.
holdfast_system_library(gtest LINK GTest::gtest GTest::gmock)
holdfast_system_library(rapidcheck LINK rapidcheck)
holdfast_system_library(libarchive PKG libarchive)

# Libraries that every module's .cc files may use: fmt stands in for the <format> that GCC 12 lacks.
set(HOLDFAST_COMMON_SYSTEM fmt)
