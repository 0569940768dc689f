# Each tests/fuzz/<name>_fuzz.cc is a libFuzzer target. As a test it takes every seed of
# tests/fuzz/corpus/<name> and then a bounded number of inputs made from them.
# The modules it needs are those that its #include lines name.

if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "The fuzz targets need clang; use the preset fuzz.")
endif()

set(HOLDFAST_FUZZ_RUNS 20000 CACHE STRING "Inputs that one fuzz target tries in a test run.")
set(HOLDFAST_FUZZ_SECONDS 10 CACHE STRING "Seconds after which a fuzz target stops in a test run.")

# The libraries are instrumented for coverage, too.
target_compile_options(holdfast_flags INTERFACE -fsanitize=fuzzer-no-link)

add_custom_target(fuzzers)
get_property(MODULES GLOBAL PROPERTY HOLDFAST_MODULES)
file(GLOB FUZZ_SOURCES CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.cc")
foreach(SOURCE IN LISTS FUZZ_SOURCES)
  get_filename_component(TARGET "${SOURCE}" NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" NAME "${TARGET}")
  add_executable(${TARGET} "${SOURCE}")
  add_dependencies(fuzzers ${TARGET})
  target_include_directories(${TARGET} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_link_options(${TARGET} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${TARGET} PRIVATE holdfast_flags holdfast_sys_fmt)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${SOURCE}")
  file(STRINGS "${SOURCE}" LINES REGEX "^#include \"[a-z_]+/")
  foreach(LINE IN LISTS LINES)
    string(REGEX REPLACE "^#include \"([a-z_]+)/.*" "\\1" MODULE "${LINE}")
    if(MODULE IN_LIST MODULES)
      target_link_libraries(${TARGET} PRIVATE holdfast_${MODULE})
    endif()
  endforeach()

  # New inputs go to a folder of the build; the seeds of the tree are only read.
  set(FOUND "${CMAKE_BINARY_DIR}/fuzz-found/${NAME}")
  file(MAKE_DIRECTORY "${FOUND}")
  set(SEEDS "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${NAME}")
  if(NOT IS_DIRECTORY "${SEEDS}")
    set(SEEDS "")
  endif()
  add_test(NAME fuzz.${NAME} COMMAND ${TARGET}
    -runs=${HOLDFAST_FUZZ_RUNS} -max_total_time=${HOLDFAST_FUZZ_SECONDS} -timeout=10 -rss_limit_mb=1024
    -print_final_stats=0 -verbosity=0 "-artifact_prefix=${CMAKE_BINARY_DIR}/" "${FOUND}" ${SEEDS})
  set_tests_properties(fuzz.${NAME} PROPERTIES LABELS fuzz TIMEOUT 300)
endforeach()
