/* What this machine is: model, instruction set, BLAS, and which precisions it computes in. */
#include "base/processors.h"
#include "base/unknown.h"
#include "kernels/cpu/cpu.h"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef __x86_64__
/* Leaf 7 of cpuid: subleaf 1's EAX, subleaf 0's EDX. */
#define EAX_AVX512_BF16 (1u << 5)
#define EDX_AMX_BF16 (1u << 22)
#define EDX_AMX_TILE (1u << 24)

static unsigned cpuid_7(unsigned subleaf, bool edx)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, subleaf, &a, &b, &c, &d) ? edx ? d : a : 0;
}
#endif

const struct cpu_isa *cpu_isa_best(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return cpuid_7(1, false) & EAX_AVX512_BF16 ? &cpu_isa_avx512_bf16 : &cpu_isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &cpu_isa_avx2;
#endif
    return &cpu_isa_baseline;
}

/* The state of the tiles is large, so Linux gives it to processes that ask (since 5.16; Documentation/arch/x86/xstate.rst). */
bool cpu_amx_ready(void)
{
#if defined __x86_64__ && defined __linux__
    const unsigned wanted = EDX_AMX_BF16 | EDX_AMX_TILE;
    const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return cpu_isa_best() == &cpu_isa_avx512_bf16 && (cpuid_7(0, true) & wanted) == wanted &&
           syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
    return false;
#endif
}

/* The value of the first line of /proc/cpuinfo that starts with `key`. */
static bool cpuinfo(const char *key, char *value, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return false;
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon)
            continue;
        snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
        value[strcspn(value, "\n")] = '\0';
        found = true;
    }
    fclose(file);
    return found;
}

static bool has_flag(const char *flags, const char *flag)
{
    const size_t length = strlen(flag);
    for (const char *at = flags; (at = strstr(at, flag)); at += length)
        if ((at == flags || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

const char *cpu_bf16_refusal(const char *flags)
{
    if (has_flag(flags, "avx512_bf16") && has_flag(flags, "avx512bw") && has_flag(flags, "avx512vl") &&
        has_flag(flags, "avx512dq"))
        return NULL;
    if (has_flag(flags, "avx512_bf16") || has_flag(flags, "amx_bf16") || has_flag(flags, "avx_ne_convert") ||
        has_flag(flags, "bf16"))
        return "steptop has no kernels for this CPU's bf16 instructions";
    return "this CPU has no bf16 instructions (avx512_bf16, amx_bf16): it could only emulate";
}

bool cpu_precision_works(enum precision precision, char *why, size_t why_size)
{
    char flags[4096];
    switch (precision) {
    case PRECISION_FP32:
        return true;
    case PRECISION_TF32:
        snprintf(why, why_size, "tf32 is a format of NVIDIA's tensor cores; a CPU multiplies in fp32");
        return false;
    case PRECISION_BF16:
        if (!cpuinfo("flags", flags, sizeof flags) && !cpuinfo("Features", flags, sizeof flags))
            flags[0] = '\0';
        if (!cpu_bf16_refusal(flags))
            return true;
        snprintf(why, why_size, "%s", cpu_bf16_refusal(flags));
        return false;
    case PRECISION_COUNT:
        break;
    }
    snprintf(why, why_size, "no such precision");
    return false;
}

static double highest_mhz(void)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "re");
    double khz = UNKNOWN_DOUBLE;
    if (file) {
        if (fscanf(file, "%lf", &khz) != 1)
            khz = UNKNOWN_DOUBLE;
        fclose(file);
    }
    return khz / 1000;
}

void cpu_machine_info(const struct cpu_blas *blas, struct device_info *info)
{
    const struct processors processors = processors_allowed();
    *info = (struct device_info){
        .name = "cpu",
        .memory_bytes = cpu_memory_total(),
        .free_bytes = cpu_memory_free(),
        .units = (uint32_t)processors.affinity,
        .clock_mhz = highest_mhz(),
    };
    struct utsname system;
    const char *machine = uname(&system) == 0 ? system.machine : "unknown";
    if (!cpuinfo("model name", info->model, sizeof info->model))
        snprintf(info->model, sizeof info->model, "%s", machine);
    snprintf(info->architecture, sizeof info->architecture, "%.15s, %s", machine, cpu_isa_best()->name);
    char version[32] = "OpenBLAS";
    if (blas && sscanf(blas->config(), "OpenBLAS %31s", version) == 1)
        snprintf(info->driver, sizeof info->driver, "OpenBLAS %.20s (%.16s), %d threads", version, blas->core(),
                 processors.allowed);
    else
        snprintf(info->driver, sizeof info->driver, "%s, %d threads", blas ? "OpenBLAS" : "own kernels, no OpenBLAS",
                 processors.allowed);
    for (int precision = 0; precision < PRECISION_COUNT; precision++)
        if (cpu_precision_works((enum precision)precision, info->why_not[precision], sizeof info->why_not[precision]))
            info->precisions |= 1u << precision;
}
