/* Names to device classes: the built-in ones, and plugins opened with dlopen. */
#include "kernels/device.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/system.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLASS_NAME_MAX 16

static const struct device_class *const builtin_classes[] = {&reference_device_class};
/* What is known of a class without its plugin, a row each: its name; whether it computes on the host's processors; and how the files of
 * its cards in /dev begin, whose ends are their numbers (NULL: none that could be counted). In the order of `steptop devices`. */
#define LISTED_CLASSES(ROW)                                                                                            \
    ROW("cpu", true, NULL)                                                                                             \
    ROW("cuda", false, "nvidia")                                                                                       \
    ROW("vulkan", false, NULL)
#define NAME_OF(name, is_host, node) name,
#define TRAITS_OF(name, is_host, node) {name, is_host, node},
static const char *const listed_classes[] = {LISTED_CLASSES(NAME_OF)};
static const struct class_traits {
    const char *name;
    bool is_host;
    const char *node;
} known_classes[] = {LISTED_CLASSES(TRAITS_OF){"reference", true, NULL}};

/* NULL for a class of which nothing is known. */
static const struct class_traits *traits_of(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof known_classes / sizeof *known_classes; i++)
        if (strlen(known_classes[i].name) == length && strncmp(known_classes[i].name, name, length) == 0)
            return &known_classes[i];
    return NULL;
}

/* What PyTorch calls the Apple GPU; on other systems there is none. */
#define APPLE_GPU "mps"

int device_class_names(const char *const **names)
{
    *names = listed_classes;
    return (int)(sizeof listed_classes / sizeof *listed_classes);
}

bool device_is_host(const char *name)
{
    const struct class_traits *traits = traits_of(name, strcspn(name, ":"));
    return traits && traits->is_host;
}

/* "cuda:1" to "cuda" and 1; a name without a number is index 0. */
static bool name_split(const char *name, char class_name[static CLASS_NAME_MAX], int *index, struct error *error)
{
    const size_t length = strcspn(name, ":");
    const size_t allowed = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (length == 0 || length >= CLASS_NAME_MAX || allowed != length)
        return error_set(error, ERROR_DEVICE, "'%s' is not a device name: write cpu, cuda:0 or the like", name);
    memcpy(class_name, name, length);
    class_name[length] = '\0';
    *index = 0;
    if (name[length] == '\0')
        return true;
    const char *digits = name + length + 1;
    const size_t digit_count = strspn(digits, "0123456789");
    if (digit_count == 0 || digit_count > 4 || digits[digit_count] != '\0')
        return error_set(error, ERROR_DEVICE,
                         "'%s' is not a device name: after '%s:' comes the device's number, as in %s:0", name,
                         class_name, class_name);
    *index = atoi(digits);
    return true;
}

int device_missing(const char *name, int ranks, const char *folder, int *there)
{
    char class_name[CLASS_NAME_MAX];
    int index = 0;
    *there = 0;
    if (!name_split(name, class_name, &index, NULL))
        return -1;
    const struct class_traits *traits = traits_of(class_name, strlen(class_name));
    const char *node = traits ? traits->node : NULL;
    DIR *opened = node ? opendir(folder) : NULL;
    for (const struct dirent *entry; opened && (entry = readdir(opened));) {
        const char *digits = entry->d_name + strlen(node);
        if (strncmp(entry->d_name, node, strlen(node)) == 0 && *digits &&
            strspn(digits, "0123456789") == strlen(digits))
            ++*there;
    }
    if (opened)
        closedir(opened);
    if (*there == 0 || index + ranks <= *there)
        return -1;
    return index < *there ? *there - index : 0;
}

static bool program_folder(char *path, size_t size)
{
    if (!program_path(path, size))
        return false;
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

/* Why a library does not load: what it is, or that this process may open or map no more. */
static enum error_kind load_failure(const char *path)
{
    struct stat stat;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? error_kind_of(errno) : ERROR_DEVICE;
    enum error_kind kind = ERROR_DEVICE;
    if (fstat(fd, &stat) == 0 && stat.st_size > 0) {
        void *map = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED && errno == ENOMEM)
            kind = ERROR_MEMORY;
        else if (map != MAP_FAILED)
            munmap(map, (size_t)stat.st_size);
    }
    close(fd);
    return kind;
}

/* The plugin's class. Its library stays loaded until the process ends: its driver may own threads. */
static const struct device_class *plugin_open(const char *path, const char *class_name, struct error *error)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        error_set(error, load_failure(path), "the plugin of device '%s' does not load: %s", class_name, dlerror());
        return NULL;
    }
    const struct device_class *found = dlsym(library, "steptop_device_class");
    if (!found) {
        error_set(error, ERROR_DEVICE, "%s is not a device plugin: it has no steptop_device_class", path);
        return NULL;
    }
    if (found->abi != DEVICE_ABI) {
        error_set(error, ERROR_DEVICE,
                  "%s was built for device interface %u and this program has %u: build both from one source", path,
                  found->abi, DEVICE_ABI);
        return NULL;
    }
    if (!found->name || strcmp(found->name, class_name) != 0) {
        error_set(error, ERROR_DEVICE, "%s holds the device class '%s', not '%s'", path,
                  found->name ? found->name : "(none)", class_name);
        return NULL;
    }
    return found;
}

/* Folders are searched in order: STEPTOP_PLUGIN_FOLDER when set, the program's own, libdir seen from there, libdir. The first file that is there
 * decides; one that is there and does not load is an error, not a reason to look further. */
static const struct device_class *plugin_find(const char *class_name, struct error *error)
{
    char own[PATH_MAX], beside[PATH_MAX + sizeof STEPTOP_LIBDIR_FROM_PROGRAM];
    const char *folders[4];
    int count = 0;
    const char *wanted = getenv("STEPTOP_PLUGIN_FOLDER");
    if (wanted && wanted[0] == '/')
        folders[count++] = wanted;
    if (program_folder(own, sizeof own)) {
        folders[count++] = own;
        snprintf(beside, sizeof beside, "%s/" STEPTOP_LIBDIR_FROM_PROGRAM, own);
        folders[count++] = beside;
    }
    folders[count++] = STEPTOP_LIBDIR;

    struct strbuf searched = {0};
    const struct device_class *found = NULL;
    for (int i = 0; i < count; i++) {
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/steptop-%s.so", folders[i], class_name);
        strbuf_printf(&searched, "%s%s", i ? ", " : "", folders[i]);
        const bool exists = access(path.text, F_OK) == 0;
        if (exists)
            found = plugin_open(path.text, class_name, error);
        strbuf_release(&path);
        if (exists)
            goto done;
    }
    bool known = false;
    for (size_t i = 0; i < sizeof listed_classes / sizeof *listed_classes; i++)
        known |= strcmp(listed_classes[i], class_name) == 0;
    error_set(error, ERROR_DEVICE, "%s '%s': there is no steptop-%s.so in %s", known ? "no device" : "unknown device",
              class_name, class_name, searched.text);
done:
    strbuf_release(&searched);
    return found;
}

const struct device_class *device_find(const char *name, int *index, struct error *error)
{
    char class_name[CLASS_NAME_MAX];
    int number;
    if (!name_split(name, class_name, &number, error))
        return NULL;
    if (index)
        *index = number;
    if (strcmp(class_name, APPLE_GPU) == 0) {
#ifdef __APPLE__
        return plugin_find("vulkan", error);
#else
        error_set(error, ERROR_DEVICE,
                  "no device '" APPLE_GPU "': that is the Apple GPU on macOS; here it is vulkan:0 or cuda:0");
        return NULL;
#endif
    }
    for (size_t i = 0; i < sizeof builtin_classes / sizeof *builtin_classes; i++)
        if (strcmp(builtin_classes[i]->name, class_name) == 0)
            return builtin_classes[i];
    return plugin_find(class_name, error);
}
