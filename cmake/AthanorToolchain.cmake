# Quick edit-build-test loops: ccache, lld, and one set of warnings.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(LLD NAMES ld.lld-19 ld.lld)
if(LLD)
  get_filename_component(LLD_DIR ${LLD} REALPATH)
  get_filename_component(LLD_DIR ${LLD_DIR} DIRECTORY)
  add_link_options(-fuse-ld=lld -B${LLD_DIR})
endif()
# gcc 12 warns wrongly about inlined std::string and LLVM code.
set(ATHANOR_WARNINGS -Wall -Wextra -Wno-missing-field-initializers -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds
  -Wno-maybe-uninitialized)

# Set by the asan preset.
set(ATHANOR_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined")
if(ATHANOR_SANITIZE)
  add_compile_options(-fsanitize=${ATHANOR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ATHANOR_SANITIZE})
endif()
if(ATHANOR_BUILD_FUZZERS)
  # Coverage feedback from the library's code; only the fuzz targets themselves link libFuzzer.
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
