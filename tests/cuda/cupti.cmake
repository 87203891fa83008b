# Tests of the activity source, the counters and NVML. Without a GPU: against stand-ins of CUPTI and NVML, and recorded
# buffers. With one (label gpu): against what can be known otherwise.
steptop_test(cupti_convert LIBRARIES cuda_device)
steptop_test(cupti_source LIBRARIES cuda_device SOURCES fake_cupti.c TIMEOUT 180)
# NVIDIA's own library, opened by this test, opens another with RTLD_DEEPBIND, which sanitizers do not survive.
steptop_test(cupti_counters LIBRARIES cuda_device LABELS release-only)
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/recorded.bin)
  steptop_test(cupti_replay LIBRARIES cuda_device)
endif()

steptop_test(cupti_api LIBRARIES cuda_device)
foreach(version 28 130500 140200)
  add_library(fake_cupti_${version} MODULE fake_old_cupti.c)
  set_target_properties(fake_cupti_${version} PROPERTIES C_VISIBILITY_PRESET default)
  target_compile_definitions(fake_cupti_${version} PRIVATE FAKE_VERSION=${version})
  add_dependencies(test_cupti_api fake_cupti_${version})
endforeach()
target_compile_definitions(test_cupti_api PRIVATE FAKE_CUPTI_12="$<TARGET_FILE:fake_cupti_28>"
  FAKE_CUPTI_13="$<TARGET_FILE:fake_cupti_130500>" FAKE_CUPTI_14="$<TARGET_FILE:fake_cupti_140200>")

add_library(fake_nvml MODULE fake_nvml.c)
set_target_properties(fake_nvml PROPERTIES C_VISIBILITY_PRESET default)
steptop_test(nvml LIBRARIES cuda_device)
target_compile_definitions(test_nvml PRIVATE FAKE_NVML="$<TARGET_FILE:fake_nvml>")
add_dependencies(test_nvml fake_nvml)

steptop_test(cupti_gpu LIBRARIES cuda_device model SOURCES gpu_run.c gpu_chains.c ../kernels/made.c TIMEOUT 400 LABELS gpu)
add_executable(bench_cupti bench_cupti.c bench_cupti_parts.c gpu_run.c recorder.c)
target_link_libraries(bench_cupti PRIVATE cuda_device profiler model)
set_target_properties(bench_cupti PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
add_test(NAME sanitizer_table COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/sanitizer.sh ${CMAKE_SOURCE_DIR})
