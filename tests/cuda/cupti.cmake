# Tests of the activity source, the counters and NVML that need no GPU: against stand-ins of CUPTI and NVML.
steptop_test(cupti_convert LIBRARIES cuda_device)
steptop_test(cupti_source LIBRARIES cuda_device SOURCES fake_cupti.c TIMEOUT 180)
target_include_directories(test_cupti_source PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})

add_library(fake_nvml MODULE fake_nvml.c)
set_target_properties(fake_nvml PROPERTIES C_VISIBILITY_PRESET default)
steptop_test(nvml LIBRARIES cuda_device)
target_compile_definitions(test_nvml PRIVATE FAKE_NVML="$<TARGET_FILE:fake_nvml>")
add_dependencies(test_nvml fake_nvml)
steptop_test(cupti_counters LIBRARIES cuda_device)
