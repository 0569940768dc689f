# The lints are tests, so that they cannot be forgotten. A lint that lacks its tool returns 77.

find_package(Python3 3.11 REQUIRED COMPONENTS Interpreter)

function(holdfast_lint NAME)
  add_test(NAME lint.${NAME} COMMAND ${ARGN} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(lint.${NAME} PROPERTIES LABELS lint TIMEOUT 300 SKIP_RETURN_CODE 77)
endfunction()

set(TOOLS "${CMAKE_SOURCE_DIR}/tools")
holdfast_lint(layers ${Python3_EXECUTABLE} ${TOOLS}/lint_layers.py)
holdfast_lint(tidy ${Python3_EXECUTABLE} ${TOOLS}/lint_tidy.py)
holdfast_lint(third_party ${Python3_EXECUTABLE} ${TOOLS}/lint_third_party.py)
holdfast_lint(format ${TOOLS}/lint_format.sh)
holdfast_lint(python ${TOOLS}/lint_python.sh)
holdfast_lint(shell ${TOOLS}/lint_shell.sh)
holdfast_lint(selftest
  ${Python3_EXECUTABLE} -m unittest discover --start-directory ${TOOLS} --pattern "*_test.py")

# What a module takes from another one is proven on the archives, too: a name that its includes
# did not show cannot slip through.
get_property(MODULES GLOBAL PROPERTY HOLDFAST_MODULES)
holdfast_lint(symbols
  ${Python3_EXECUTABLE} ${TOOLS}/lint_symbols.py --archives "${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}")
