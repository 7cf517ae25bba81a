# How kernels/cuda is compiled, in a build with PRECIS_CUDA_BACKEND: by nvcc, for devices of compute capability 8.0
# and newer, with the static runtime. The driver's and cuBLASLt's libraries are not linked: a program of this
# build starts on any machine, and says what a machine lacks.
if(PRECIS_SANITIZE)
  message(FATAL_ERROR "PRECIS_CUDA_BACKEND is without sanitizers: the same kernels are tested under them on a CPU (docs/gpu.md)")
endif()
find_program(CMAKE_CUDA_COMPILER nvcc PATHS ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "PRECIS_CUDA_BACKEND is ON, and nvcc was not found: install the CUDA toolkit, "
    "or name it by -DCMAKE_CUDA_COMPILER=/path/to/nvcc, or leave the option OFF")
endif()
# Machine code for 8.x and 9.x. The PTX is of 9.0, not of the newest that nvcc knows: a driver translates PTX for its
# own architecture or newer ones only, and 10.0 must run it too.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
endif()
if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
endif()
enable_language(CUDA)
# CMake before 3.26 does not know that nvcc has C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O2 -Xcompiler=-g1 -DNDEBUG")

# Of what nvcc makes for the host compiler, GCC can be asked only what holds for generated code, too.
list(APPEND PRECIS_WARNINGS
  $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow,-Werror>)
