#include "kernels/cuda/cupti_api.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUPTI_MAJOR (CUPTI_API_VERSION / 10000)
#define CUPTI_12 18u /* the number of the first of CUDA 12 */

/* Below the toolkit's folder; a target build has its libraries in lib64, older installers in extras. */
static const char *const library_folders[] = {"lib64", "lib", "extras/CUPTI/lib64", "targets/x86_64-linux/lib",
                                              "targets/sbsa-linux/lib"};
static const char *const toolkit_variables[] = {"CUDA_PATH", "CUDA_HOME"};

static void *library_try(struct cupti_api *api, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library)
        snprintf(api->path, sizeof api->path, "%s", path);
    return library;
}

static void *library_try_toolkit(struct cupti_api *api, const char *toolkit)
{
    for (size_t i = 0; i < sizeof library_folders / sizeof *library_folders; i++) {
        char path[512];
        int length = snprintf(path, sizeof path, "%s/%s/libcupti.so.%d", toolkit, library_folders[i], CUPTI_MAJOR);
        if (length < 0 || (size_t)length >= sizeof path)
            continue;
        void *library = library_try(api, path);
        if (library)
            return library;
    }
    return NULL;
}

static void *library_find(struct cupti_api *api)
{
    char versioned[32];
    snprintf(versioned, sizeof versioned, "libcupti.so.%d", CUPTI_MAJOR);
    void *library = library_try(api, versioned);
    for (size_t i = 0; !library && i < sizeof toolkit_variables / sizeof *toolkit_variables; i++) {
        const char *toolkit = getenv(toolkit_variables[i]);
        if (toolkit && *toolkit == '/')
            library = library_try_toolkit(api, toolkit);
    }
    if (!library)
        library = library_try_toolkit(api, "/usr/local/cuda");
    if (!library) /* whatever version the system calls its own: refused below by its number, with a better sentence */
        library = library_try(api, "libcupti.so");
    return library;
}

static bool version_check(const struct cupti_api *api, struct error *error)
{
    if (api->version / 10000 == CUPTI_MAJOR)
        return true;
    if (api->version < 1000)
        return error_set(error, ERROR_DEVICE,
                         "%s is CUPTI API %u, from before CUDA 13; its records differ from those this build reads: "
                         "install the CUPTI of CUDA %d or build steptop with this one's headers",
                         api->path, api->version, CUPTI_MAJOR);
    return error_set(error, ERROR_DEVICE,
                     "%s is CUPTI %u.%u; its records differ from those this build reads: install the CUPTI of CUDA %d "
                     "or build steptop with this one's headers",
                     api->path, api->version / 10000, api->version / 100 % 100, CUPTI_MAJOR);
}

/* Fills the table from the library that was opened, or closes it. */
static bool functions_load(struct cupti_api *api, bool older, struct error *error)
{
    api->get_version = (__typeof__(api->get_version))dlsym(api->library, "cuptiGetVersion");
    if (!api->get_version || api->get_version(&api->version) != CUPTI_SUCCESS) {
        error_set(error, ERROR_DEVICE, "%s does not say which version of CUPTI it is", api->path);
        goto failed;
    }
    const bool is_older = older && api->version < 1000 && api->version >= CUPTI_12;
    if (!is_older && !version_check(api, error))
        goto failed;
    api->subscribe_old = (__typeof__(api->subscribe_old))dlsym(api->library, "cuptiSubscribe");

#define CUPTI_LOAD(field, function)                                                                                    \
    api->field = (__typeof__(api->field))dlsym(api->library, #function);                                               \
    if (!api->field && !(is_older && api->subscribe_old && strcmp(#function, "cuptiSubscribe_v2") == 0)) {             \
        error_set(error, ERROR_DEVICE, "%s (CUPTI API %u) has no " #function, api->path, api->version);                \
        goto failed;                                                                                                   \
    }
    CUPTI_ACTIVITY_FUNCTIONS(CUPTI_LOAD)
#undef CUPTI_LOAD
    return true;

failed:
    dlclose(api->library);
    api->library = NULL;
    return false;
}

bool cupti_api_load_library(struct cupti_api *api, const char *path, struct error *error)
{
    memset(api, 0, sizeof *api);
    api->library = library_try(api, path);
    return api->library ? functions_load(api, false, error) : error_set(error, ERROR_DEVICE, "%s does not load", path);
}

bool cupti_api_load(struct cupti_api *api, struct error *error)
{
    memset(api, 0, sizeof *api);
    api->library = library_find(api);
    if (!api->library)
        return error_set(error, ERROR_DEVICE,
                         "libcupti.so.%d was not found in the loader's path, CUDA_PATH, CUDA_HOME or /usr/local/cuda: "
                         "install CUDA %d's CUPTI (cuda-cupti) or point CUDA_PATH at the toolkit",
                         CUPTI_MAJOR, CUPTI_MAJOR);
    return functions_load(api, false, error);
}

bool cupti_api_load_present(struct cupti_api *api, struct error *error)
{
    static const char *const names[] = {"libcupti.so.13", "libcupti.so.12"};
    memset(api, 0, sizeof *api);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        api->library = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
        if (api->library) {
            snprintf(api->path, sizeof api->path, "%s", names[i]);
            return functions_load(api, true, error);
        }
    }
    return cupti_api_load(api, error);
}

const char *cupti_result_text(const struct cupti_api *api, CUptiResult result, char *text, size_t size)
{
    const char *message = NULL;
    if (!api->get_error_message || api->get_error_message(result, &message) != CUPTI_SUCCESS)
        message = NULL;
    /* 999 is what CUPTI says of everything without a driver, and its own message does not tell. */
    snprintf(text, size, "CUPTI error %d%s%s%s", (int)result, message ? ", " : "", message ? message : "",
             result == CUPTI_ERROR_UNKNOWN ? ": is there a working NVIDIA driver?" : "");
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return text;
}

void *cupti_symbol(const struct cupti_api *api, const char *name)
{
    return api->library ? dlsym(api->library, name) : NULL;
}
