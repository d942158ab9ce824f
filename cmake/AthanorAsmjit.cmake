# asmjit as a target that links into a shared library. Debian ships a static archive of position-independent-executable code,
# whose only reference a shared library can't hold is the one to stderr's data symbol: give it a hidden one of our own.
find_library(ASMJIT_ARCHIVE NAMES libasmjit.a REQUIRED)
find_path(ASMJIT_INCLUDE_DIR asmjit/x86.h REQUIRED)
set(ASMJIT_LOCAL_ARCHIVE ${CMAKE_BINARY_DIR}/libasmjit_local.a)
if(NOT EXISTS ${ASMJIT_LOCAL_ARCHIVE})
  execute_process(
    COMMAND ${CMAKE_OBJCOPY} --redefine-sym stderr=athanor_asmjit_stderr ${ASMJIT_ARCHIVE} ${ASMJIT_LOCAL_ARCHIVE}
    COMMAND_ERROR_IS_FATAL ANY)
endif()
add_library(athanor_asmjit INTERFACE)
target_include_directories(athanor_asmjit INTERFACE $<BUILD_INTERFACE:${ASMJIT_INCLUDE_DIR}>)
target_link_libraries(athanor_asmjit INTERFACE $<BUILD_INTERFACE:${ASMJIT_LOCAL_ARCHIVE}>)
