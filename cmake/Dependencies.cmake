# Third-party parts, each with the Debian package that brings it in the message when it is missing.
find_package(PkgConfig REQUIRED)

function(steptop_require name module package)
  pkg_check_modules(${name} QUIET IMPORTED_TARGET ${module})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "steptop needs ${module}, which pkg-config does not find. On Debian: apt-get install ${package}")
  endif()
endfunction()

steptop_require(NCURSES ncursesw libncurses-dev)
steptop_require(YAML yaml-0.1 libyaml-dev)
# For its header alone: the CPU device opens the library when it is used.
steptop_require(OPENBLAS openblas libopenblas-openmp-dev)
steptop_require(JANSSON jansson libjansson-dev)

find_package(OpenMP COMPONENTS C)
if(NOT OpenMP_C_FOUND)
  message(FATAL_ERROR "steptop needs a C compiler with OpenMP (gcc has it; for clang: apt-get install libomp-dev)")
endif()

if(STEPTOP_TESTS)
  steptop_require(CMOCKA cmocka libcmocka-dev)
  steptop_require(VTERM vterm libvterm-dev)
endif()
