/* The CUPTI without a GPU of tests/cuda/fake_cupti.c as a library that a program loads, as PyTorch brings one: by CUPTI's own names. Built
 * as version 13 and as version 12, which has no cuptiSubscribe_v2. In the environment, FAKE_CUPTI_BUSY: another tool holds it; FAKE_CUPTI_RUNTIME: activities
 * bear the numbers of the runtime's calls. */
#include "tests/cuda/fake_cupti.h"
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

/* Which the headers declare with everything but a visibility. */
#pragma GCC visibility push(default)

CUptiResult cuptiGetVersion(uint32_t *version)
{
    fake_reset(); /* the first that is asked of it */
    if (getenv("FAKE_CUPTI_RUNTIME"))
        fake_numbers_by_runtime();
    *version = FAKE_VERSION;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetErrorMessage(CUptiResult result, const char **text)
{
    return fake_api()->get_error_message(result, text);
}

static CUptiResult subscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *context,
                             CUpti_SubscriberParams *parameters)
{
    if (getenv("FAKE_CUPTI_BUSY"))
        fake_subscribe_result(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, "another");
    return fake_api()->subscribe(subscriber, callback, context, parameters);
}

#if FAKE_VERSION > 1000
CUptiResult cuptiSubscribe_v2(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *context,
                              CUpti_SubscriberParams *parameters)
{
    return subscribe(subscriber, callback, context, parameters);
}
#endif

CUptiResult cuptiSubscribe(CUpti_SubscriberHandle *subscriber, CUpti_CallbackFunc callback, void *context)
{
    char holder[64];
    return subscribe(subscriber, callback, context,
                     &(CUpti_SubscriberParams){.oldSubscriberName = holder, .oldSubscriberSize = sizeof holder});
}

CUptiResult cuptiUnsubscribe(CUpti_SubscriberHandle subscriber)
{
    return fake_api()->unsubscribe(subscriber);
}

CUptiResult cuptiEnableCallback(uint32_t on, CUpti_SubscriberHandle subscriber, CUpti_CallbackDomain domain,
                                CUpti_CallbackId id)
{
    if (FAKE_VERSION < 1000 && domain == CUPTI_CB_DOMAIN_RUNTIME_API && id > 435) /* what came after it */
        return CUPTI_ERROR_INVALID_PARAMETER;
    return fake_api()->enable_callback(on, subscriber, domain, id);
}

CUptiResult cuptiActivitySetAttribute(CUpti_ActivityAttribute attribute, size_t *size, void *value)
{
    return fake_api()->set_attribute(attribute, size, value);
}

CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                           CUpti_BuffersCallbackCompleteFunc complete)
{
    static CUpti_BuffersCallbackRequestFunc requested;
    static CUpti_BuffersCallbackCompleteFunc completed;
    requested = request;
    completed = complete;
    return fake_api()->register_callbacks(requested, completed);
}

CUptiResult cuptiActivityRegisterTimestampCallback(CUpti_TimestampCallbackFunc clock)
{
    return fake_api()->register_timestamp(clock);
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind)
{
    return fake_api()->enable(kind);
}

CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind)
{
    return fake_api()->disable(kind);
}

CUptiResult cuptiActivityFlushAll(uint32_t flag)
{
    return fake_api()->flush_all(flag);
}

CUptiResult cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, CUpti_Activity **record)
{
    return fake_api()->next_record(buffer, valid, record);
}

CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext context, uint32_t stream, size_t *dropped)
{
    return fake_api()->dropped_records(context, stream, dropped);
}

CUptiResult cuptiGetGraphNodeId(CUgraphNode node, uint64_t *id)
{
    return fake_api()->graph_node_id(node, id);
}

CUptiResult cuptiGetCallbackName(CUpti_CallbackDomain domain, uint32_t id, const char **name)
{
    return fake_api()->callback_name(domain, id, name);
}

/* What the program that loads it does on its device. */
EXPORT const struct fake_device fake_device = {.launch = fake_launch,
                                               .synchronize = fake_synchronize,
                                               .fatal = fake_fatal,
                                               .finalize = fake_finalize,
                                               .state = fake_state,
                                               .capture = fake_capture_kernel,
                                               .instantiate = fake_instantiate,
                                               .graph_launch = fake_graph_launch};
#pragma GCC visibility pop
