# How every target of ours is compiled: language level, warnings as errors, sanitizers.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# Optimised builds keep line tables only: backtraces are worth it, full debug information is not.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")

set(PRECIS_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND PRECIS_WARNINGS -Wthread-safety)
endif()
list(TRANSFORM PRECIS_WARNINGS REPLACE "(.+)" "$<$<COMPILE_LANGUAGE:CXX>:\\1>")

if(PRECIS_SANITIZE)
  add_compile_options(-fsanitize=${PRECIS_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PRECIS_SANITIZE})
  if(PRECIS_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

# precis_library(NAME SOURCES... [DEPS targets...]): a static library of ours, included from the root.
function(precis_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${PRECIS_WARNINGS})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
endfunction()

# precis_binary(NAME SOURCES... [DEPS targets...]): an executable of ours.
function(precis_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${PRECIS_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
endfunction()

# What scripts/test builds: tests labelled golden, server or full run on the optimised build, all others
# are unit tests and run under the sanitizers.
add_custom_target(unit_tests)
add_custom_target(labelled_tests)

# precis_test(NAME SOURCES... [DEPS targets...] [LABELS labels...] [OPTIMIZED]): one GoogleTest binary is one ctest
# test; it runs in the source tree, so that tests name fixtures by their path in the repository.
# Under the sanitizers a test's own sources are compiled without optimisation, which takes half as long;
# OPTIMIZED keeps it where they compute for long themselves.
function(precis_test name)
  cmake_parse_arguments(ARG "OPTIMIZED" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  precis_binary(${name} SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  if(NOT ARG_OPTIMIZED)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Debug>:-O0>)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  # Tests share their cores with other tests: OpenMP threads that wait soon sleep.
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT GOMP_SPINCOUNT=3000)
  if(ARG_LABELS MATCHES "(^|;)(golden|server|full)(;|$)")
    add_dependencies(labelled_tests ${name})
  else()
    add_dependencies(unit_tests ${name})
  endif()
endfunction()
