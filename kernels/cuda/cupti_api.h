/* libcupti as a table of functions, loaded at run time: a machine without it, or with another version of it, is a sentence
 * and not a failed start. Tests put a table of their own in its place. */
#pragma once
#include "base/error.h"
#include <cupti.h>

#include <stdint.h>

/* X(field, function): all that the activity source calls. */
#define CUPTI_ACTIVITY_FUNCTIONS(X)                                                                                    \
    X(get_version, cuptiGetVersion)                                                                                    \
    X(get_error_message, cuptiGetErrorMessage)                                                                         \
    X(subscribe, cuptiSubscribe_v2)                                                                                    \
    X(unsubscribe, cuptiUnsubscribe)                                                                                   \
    X(enable_callback, cuptiEnableCallback)                                                                            \
    X(set_attribute, cuptiActivitySetAttribute)                                                                        \
    X(register_callbacks, cuptiActivityRegisterCallbacks)                                                              \
    X(register_timestamp, cuptiActivityRegisterTimestampCallback)                                                      \
    X(enable, cuptiActivityEnable)                                                                                     \
    X(disable, cuptiActivityDisable)                                                                                   \
    X(flush_all, cuptiActivityFlushAll)                                                                                \
    X(next_record, cuptiActivityGetNextRecord)                                                                         \
    X(dropped_records, cuptiActivityGetNumDroppedRecords)                                                              \
    X(graph_node_id, cuptiGetGraphNodeId)                                                                              \
    X(callback_name, cuptiGetCallbackName)

struct cupti_api {
    void *library; /* from dlopen; kept for the life of the process: CUPTI cannot be unloaded while CUDA runs */
    char path[512];
    uint32_t version; /* 130001 is CUDA 13.0 update 1; below 1000 the numbering of CUDA 12 and older */
#define CUPTI_FIELD(field, function) __typeof__(function) *field;
    CUPTI_ACTIVITY_FUNCTIONS(CUPTI_FIELD)
#undef CUPTI_FIELD
    CUptiResult (*subscribe_old)(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *context);
};

/* Looks for libcupti in the loader's path, in CUDA_PATH and CUDA_HOME and in /usr/local/cuda; fills the table. Fails with
 * ERROR_DEVICE when there is none or its records are not those of this build. */
bool cupti_api_load(struct cupti_api *api, struct error *error);
/* The one that the program has loaded already, else the same; one of CUDA 12 will do: the fields that are read lie where they lay
 * (but for subscribing, which is `subscribe_old` where `subscribe` is NULL). */
bool cupti_api_load_present(struct cupti_api *api, struct error *error);
/* The same with the library's file name, for tests. */
bool cupti_api_load_library(struct cupti_api *api, const char *path, struct error *error);

/* "error 39, CUPTI_ERROR_…: the library's own sentence", for the end of a message. */
const char *cupti_result_text(const struct cupti_api *api, CUptiResult result, char *text, size_t size);

/* One function of the library, for the parts that need more than the table; NULL when it is not there. */
void *cupti_symbol(const struct cupti_api *api, const char *name);
