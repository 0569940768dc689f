# holdfast_module(<name> DEPS <modules> SYSTEM <libraries> TEST_SYSTEM <libraries of its tests>)
#   src/<name>/**/*.cc       -> holdfast_<name> (static library), and <name> as a short target name
#   src/<name>/**/*_test.cc  -> <name>_test, one GoogleTest binary, ctest entry unit.<name>
#   testing/<name>/**/*.cc, testing/<name>_*.cc
#                            -> holdfast_testing_<name>: fakes and contract suites; every test of
#                               this module and of the modules above it links it
#   whole archive + DEPS     -> <name>_linktest, ctest entry link.<name>: proves that the
#                               declared dependencies are enough
# A module without sources yet is an empty interface, so that the modules above it still configure.
#
# holdfast_app(<name> DEPS <modules> SYSTEM <libraries>): apps/<name>/**/*.cc -> bin/<name>

set(HOLDFAST_UNIT_TEST_SECONDS 300)

add_library(holdfast_testing STATIC "${CMAKE_SOURCE_DIR}/testing/paths.cc")
target_link_libraries(holdfast_testing
  PUBLIC holdfast_flags holdfast_sys_gtest holdfast_sys_rapidcheck
  PRIVATE holdfast_test_flags)
target_include_directories(holdfast_testing PUBLIC "${CMAKE_SOURCE_DIR}")
set_source_files_properties("${CMAKE_SOURCE_DIR}/testing/paths.cc" PROPERTIES
  COMPILE_DEFINITIONS "HOLDFAST_SOURCE_DIR=\"${CMAKE_SOURCE_DIR}\"")

# All modules that <name> reaches, itself included.
function(holdfast_reach NAME OUT)
  set(REACH "${NAME}")
  get_property(DEPS GLOBAL PROPERTY HOLDFAST_DEPS_${NAME})
  foreach(DEP IN LISTS DEPS)
    get_property(DEP_REACH GLOBAL PROPERTY HOLDFAST_REACH_${DEP})
    list(APPEND REACH ${DEP_REACH})
  endforeach()
  list(REMOVE_DUPLICATES REACH)
  set_property(GLOBAL PROPERTY HOLDFAST_REACH_${NAME} "${REACH}")
  set(${OUT} "${REACH}" PARENT_SCOPE)
endfunction()

function(holdfast_check_names NAME)
  cmake_parse_arguments(ARG "" "" "DEPS;SYSTEM;TEST_SYSTEM" ${ARGN})
  get_property(KNOWN GLOBAL PROPERTY HOLDFAST_MODULES)
  foreach(DEP IN LISTS ARG_DEPS)
    if(NOT DEP IN_LIST KNOWN)
      message(FATAL_ERROR "${NAME} depends on ${DEP}, which is not declared above it in Modules.cmake.")
    endif()
  endforeach()
  foreach(LIBRARY IN LISTS ARG_SYSTEM ARG_TEST_SYSTEM)
    if(NOT TARGET holdfast_sys_${LIBRARY})
      message(FATAL_ERROR "${NAME} names SYSTEM ${LIBRARY}, which SystemLibraries.cmake does not have.")
    endif()
  endforeach()
endfunction()

function(holdfast_module NAME)
  cmake_parse_arguments(ARG "" "" "DEPS;SYSTEM;TEST_SYSTEM" ${ARGN})
  holdfast_check_names(${NAME} ${ARGN})
  set_property(GLOBAL APPEND PROPERTY HOLDFAST_MODULES ${NAME})
  set_property(GLOBAL PROPERTY HOLDFAST_DEPS_${NAME} "${ARG_DEPS}")
  holdfast_reach(${NAME} REACH)

  list(TRANSFORM ARG_DEPS PREPEND holdfast_ OUTPUT_VARIABLE DEP_TARGETS)
  list(TRANSFORM ARG_SYSTEM PREPEND holdfast_sys_ OUTPUT_VARIABLE SYSTEM_TARGETS)
  list(TRANSFORM HOLDFAST_COMMON_SYSTEM PREPEND holdfast_sys_ OUTPUT_VARIABLE COMMON_TARGETS)

  set(ROOT "${CMAKE_SOURCE_DIR}/src/${NAME}")
  file(GLOB_RECURSE SOURCES CONFIGURE_DEPENDS "${ROOT}/*.cc")
  set(TESTS ${SOURCES})
  list(FILTER TESTS INCLUDE REGEX "_test\\.cc$")
  list(FILTER SOURCES EXCLUDE REGEX "_test\\.cc$")

  if(SOURCES)
    add_library(holdfast_${NAME} STATIC ${SOURCES})
    target_link_libraries(holdfast_${NAME}
      PUBLIC holdfast_flags ${DEP_TARGETS}
      PRIVATE ${SYSTEM_TARGETS} ${COMMON_TARGETS})

    add_executable(${NAME}_linktest "${CMAKE_SOURCE_DIR}/cmake/link_test_main.cc")
    target_link_libraries(${NAME}_linktest PRIVATE
      "$<LINK_LIBRARY:WHOLE_ARCHIVE,holdfast_${NAME}>" ${DEP_TARGETS})
    add_test(NAME link.${NAME} COMMAND ${NAME}_linktest)
    set_tests_properties(link.${NAME} PROPERTIES LABELS link TIMEOUT 60)
  else()
    message(STATUS "Module ${NAME} has no sources yet.")
    add_library(holdfast_${NAME} INTERFACE)
    target_link_libraries(holdfast_${NAME}
      INTERFACE holdfast_flags ${DEP_TARGETS} ${SYSTEM_TARGETS} ${COMMON_TARGETS})
  endif()
  add_custom_target(${NAME})
  add_dependencies(${NAME} holdfast_${NAME})

  holdfast_testing_library(${NAME})
  if(TESTS)
    list(TRANSFORM ARG_TEST_SYSTEM PREPEND holdfast_sys_)
    holdfast_unit_test(${NAME}
      TESTS ${TESTS} REACH ${REACH} SYSTEM ${SYSTEM_TARGETS} ${ARG_TEST_SYSTEM})
  endif()
endfunction()

# Fakes and contract suites that belong to one module's seam.
function(holdfast_testing_library NAME)
  file(GLOB_RECURSE SOURCES CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/testing/${NAME}/*.cc")
  file(GLOB FLAT CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/testing/${NAME}_*.cc")
  list(APPEND SOURCES ${FLAT})
  set_property(GLOBAL APPEND PROPERTY HOLDFAST_TESTING_SOURCES ${SOURCES})
  if(NOT SOURCES)
    return()
  endif()
  set(TESTS ${SOURCES})
  list(FILTER TESTS INCLUDE REGEX "_test\\.cc$")
  list(FILTER SOURCES EXCLUDE REGEX "_test\\.cc$")
  set_property(GLOBAL PROPERTY HOLDFAST_TESTING_TESTS_${NAME} "${TESTS}")
  if(SOURCES)
    list(TRANSFORM HOLDFAST_COMMON_SYSTEM PREPEND holdfast_sys_ OUTPUT_VARIABLE COMMON_TARGETS)
    add_library(holdfast_testing_${NAME} STATIC ${SOURCES})
    target_link_libraries(holdfast_testing_${NAME}
      PUBLIC holdfast_testing holdfast_${NAME}
      PRIVATE ${COMMON_TARGETS} holdfast_sys_nlohmann_json holdfast_test_flags)
  endif()
endfunction()

function(holdfast_unit_test NAME)
  cmake_parse_arguments(ARG "" "" "TESTS;REACH;SYSTEM" ${ARGN})
  get_property(TESTING_TESTS GLOBAL PROPERTY HOLDFAST_TESTING_TESTS_${NAME})
  add_executable(${NAME}_test ${ARG_TESTS} ${TESTING_TESTS})
  target_link_libraries(${NAME}_test PRIVATE
    holdfast_${NAME} holdfast_testing holdfast_test_flags GTest::gmock_main holdfast_sys_fmt
    holdfast_sys_nlohmann_json ${ARG_SYSTEM})
  foreach(MODULE IN LISTS ARG_REACH)
    if(TARGET holdfast_testing_${MODULE})
      target_link_libraries(${NAME}_test PRIVATE holdfast_testing_${MODULE})
    endif()
  endforeach()
  set(REPORT "${CMAKE_BINARY_DIR}/test-results/unit.${NAME}.xml")
  add_test(NAME unit.${NAME}
    COMMAND ${NAME}_test --gtest_brief=1 "--gtest_output=xml:${REPORT}"
    WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(unit.${NAME} PROPERTIES
    LABELS unit TIMEOUT ${HOLDFAST_UNIT_TEST_SECONDS})
endfunction()

function(holdfast_app NAME)
  cmake_parse_arguments(ARG "" "" "DEPS;SYSTEM;TEST_SYSTEM" ${ARGN})
  holdfast_check_names(${NAME} ${ARGN})
  set_property(GLOBAL APPEND PROPERTY HOLDFAST_APPS ${NAME})
  file(GLOB_RECURSE SOURCES CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/apps/${NAME}/*.cc")
  set(TESTS ${SOURCES})
  list(FILTER TESTS INCLUDE REGEX "_test\\.cc$")
  list(FILTER SOURCES EXCLUDE REGEX "_test\\.cc$")
  if(NOT SOURCES)
    message(STATUS "Program ${NAME} has no sources yet.")
    return()
  endif()
  set(LIBRARIES ${ARG_DEPS})
  list(TRANSFORM LIBRARIES PREPEND holdfast_)
  set(SYSTEM_TARGETS ${ARG_SYSTEM})
  list(TRANSFORM SYSTEM_TARGETS PREPEND holdfast_sys_)

  # All but main() is a library, so that terminal output and argument parsing can be unit tested.
  set(MAIN ${SOURCES})
  list(FILTER MAIN INCLUDE REGEX "/main\\.cc$")
  list(FILTER SOURCES EXCLUDE REGEX "/main\\.cc$")
  if(NOT MAIN)
    message(STATUS "Program ${NAME} has no main.cc yet.")
    return()
  endif()
  add_executable(${NAME} ${MAIN})
  target_include_directories(${NAME} PRIVATE "${CMAKE_SOURCE_DIR}")
  target_link_libraries(${NAME} PRIVATE holdfast_flags ${LIBRARIES} ${SYSTEM_TARGETS})
  if(SOURCES)
    add_library(app_${NAME} STATIC ${SOURCES})
    target_include_directories(app_${NAME} PUBLIC "${CMAKE_SOURCE_DIR}")
    target_link_libraries(app_${NAME} PUBLIC holdfast_flags ${LIBRARIES} PRIVATE ${SYSTEM_TARGETS})
    target_link_libraries(${NAME} PRIVATE app_${NAME})
  endif()
  if(TESTS)
    add_executable(app_${NAME}_test ${TESTS})
    target_include_directories(app_${NAME}_test PRIVATE "${CMAKE_SOURCE_DIR}")
    target_link_libraries(app_${NAME}_test PRIVATE
      holdfast_testing holdfast_test_flags GTest::gmock_main ${LIBRARIES} ${SYSTEM_TARGETS})
    if(SOURCES)
      target_link_libraries(app_${NAME}_test PRIVATE app_${NAME})
    endif()
    set(REPORT "${CMAKE_BINARY_DIR}/test-results/unit.app_${NAME}.xml")
    add_test(NAME unit.app_${NAME}
      COMMAND app_${NAME}_test --gtest_brief=1 "--gtest_output=xml:${REPORT}"
      WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(unit.app_${NAME} PROPERTIES
      LABELS unit TIMEOUT ${HOLDFAST_UNIT_TEST_SECONDS})
  endif()
endfunction()
