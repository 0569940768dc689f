# Each tests/tools/<name>.cc is a program for developers: one writes test data that stands in the
# tree, one times plans. The modules and testing libraries it needs are those that its #include
# lines name.

get_property(MODULES GLOBAL PROPERTY HOLDFAST_MODULES)
file(GLOB TOOL_SOURCES CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/tools/*.cc")
foreach(SOURCE IN LISTS TOOL_SOURCES)
  get_filename_component(TOOL "${SOURCE}" NAME_WE)
  add_executable(${TOOL} "${SOURCE}")
  target_link_libraries(${TOOL} PRIVATE holdfast_flags holdfast_test_flags)
  foreach(MODULE IN LISTS MODULES)
    file(STRINGS "${SOURCE}" LINES REGEX "^#include \"(testing/)?${MODULE}/")
    if(LINES AND TARGET holdfast_testing_${MODULE})
      target_link_libraries(${TOOL} PRIVATE holdfast_testing_${MODULE})
    elseif(LINES)
      target_link_libraries(${TOOL} PRIVATE holdfast_${MODULE})
    endif()
  endforeach()
endforeach()
