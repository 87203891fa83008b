/* A libcupti of the version that it was built with, and with that one function alone. */
#include <stdint.h>

int cuptiGetVersion(uint32_t *version);

int cuptiGetVersion(uint32_t *version)
{
    *version = FAKE_VERSION;
    return 0;
}
