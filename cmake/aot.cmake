# GPU kernels for the architectures in CXR_CUDA_ARCHS, compiled with the package: cubin, PTX and a
# manifest in cxr_reason/kernels/aot/binaries. CMakeLists.txt includes this after it found Python.
# The build needs triton and torch, but no GPU and no CUDA toolkit; see kernels/aot/__init__.py.

set(CXR_CUDA_ARCHS "" CACHE STRING "Compute capabilities to compile GPU kernels for: 90;100")
if(NOT CXR_CUDA_ARCHS)
  return()
endif()

get_filename_component(aot_root ${CMAKE_CURRENT_LIST_DIR}/.. REALPATH)
set(aot_python
  ${CMAKE_COMMAND} -E env --unset=TRITON_INTERPRET "PYTHONPATH=${aot_root}/src:$ENV{PYTHONPATH}"
  ${Python_EXECUTABLE})

execute_process(
  COMMAND ${aot_python} -c "import torch, triton"
  RESULT_VARIABLE aot_result ERROR_VARIABLE aot_error OUTPUT_QUIET)
if(aot_result)
  message(FATAL_ERROR
    "CXR_CUDA_ARCHS=\"${CXR_CUDA_ARCHS}\" compiles GPU kernels with triton, which "
    "${Python_EXECUTABLE} cannot import:\n${aot_error}"
    "Install torch (triton comes with it) and build with pip's --no-build-isolation: an isolated "
    "build does not see installed packages.")
endif()

# The import hook of an editable install comes before PYTHONPATH.
execute_process(
  COMMAND ${aot_python} -c "import cxr_reason, os; print(os.path.realpath(cxr_reason.__path__[0]))"
  OUTPUT_VARIABLE aot_package OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT aot_package STREQUAL "${aot_root}/src/cxr_reason")
  message(FATAL_ERROR
    "CXR_CUDA_ARCHS: ${Python_EXECUTABLE} imports cxr_reason from ${aot_package}, so kernels of "
    "another version would be compiled. Uninstall that one first: pip uninstall cxr-reason")
endif()

# An editable install imports the package from its source.
set(aot_output ${CMAKE_CURRENT_BINARY_DIR}/aot)
if("${SKBUILD_STATE}" STREQUAL "editable")
  set(aot_output ${aot_root}/kernels/aot/binaries)
endif()
file(GLOB_RECURSE aot_sources CONFIGURE_DEPENDS ${aot_root}/kernels/*.py)
add_custom_command(
  OUTPUT ${aot_output}/manifest.json
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${aot_output}
  COMMAND ${aot_python} -m cxr_reason.kernels.aot.compile
    --arch ${CXR_CUDA_ARCHS} --output ${aot_output}
  DEPENDS ${aot_sources}
  COMMENT "Compiling GPU kernels for ${CXR_CUDA_ARCHS}"
  VERBATIM)
add_custom_target(aot_kernels ALL DEPENDS ${aot_output}/manifest.json)
install(DIRECTORY ${aot_output}/ DESTINATION cxr_reason/kernels/aot/binaries)
