/* Where functions of another process are: by the symbols of the files that it has mapped. */
#include "profiler/remote_internal.h"
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef REMOTE_KNOWN

/* A file of somebody else's, mapped: every offset in it is looked at before it is followed. */
struct image {
    const unsigned char *bytes;
    size_t size;
};

static const void *at(const struct image *image, uint64_t offset, uint64_t length)
{
    return offset <= image->size && length <= image->size - offset ? image->bytes + offset : NULL;
}

static const Elf64_Shdr *section_at(const struct image *image, const Elf64_Ehdr *head, unsigned index)
{
    return index < head->e_shnum && head->e_shentsize == sizeof(Elf64_Shdr)
               ? at(image, head->e_shoff + (uint64_t)index * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr))
               : NULL;
}

/* The value of a defined function in the tables of one kind; 0: not there. */
static uint64_t value_of(const struct image *image, const Elf64_Ehdr *head, uint32_t type, const char *name)
{
    const size_t length = strlen(name) + 1;
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const Elf64_Shdr *table = section_at(image, head, i);
        const Elf64_Shdr *texts = table && table->sh_type == type ? section_at(image, head, table->sh_link) : NULL;
        const Elf64_Sym *symbols = texts ? at(image, table->sh_offset, table->sh_size) : NULL;
        for (uint64_t s = 0; symbols && s < table->sh_size / sizeof *symbols; s++) {
            if (ELF64_ST_TYPE(symbols[s].st_info) != STT_FUNC || symbols[s].st_shndx == SHN_UNDEF ||
                symbols[s].st_name >= texts->sh_size)
                continue;
            const char *text = at(image, texts->sh_offset + symbols[s].st_name, length);
            if (text && memcmp(text, name, length) == 0)
                return symbols[s].st_value;
        }
    }
    return 0;
}

/* What is added to addresses in the file: its mapping begins at `base` with the page of its first segment. */
static bool bias_of(const struct image *image, const Elf64_Ehdr *head, uint64_t base, uint64_t *bias)
{
    for (unsigned i = 0; i < head->e_phnum; i++) {
        const Elf64_Phdr *segment = at(image, head->e_phoff + (uint64_t)i * sizeof(Elf64_Phdr), sizeof(Elf64_Phdr));
        if (!segment || segment->p_type != PT_LOAD)
            continue;
        *bias = base - (segment->p_vaddr - segment->p_offset);
        return true;
    }
    return false;
}

static bool look_in(pid_t pid, const char *path, uint64_t base, const char *const *names, uint64_t *found, int count)
{
    char file[4200];
    struct stat status;
    snprintf(file, sizeof file, "/proc/%d/root%s", (int)pid, path);
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    struct image image = {0};
    void *mapped = MAP_FAILED;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
        mapped = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return false;
    image = (struct image){mapped, (size_t)status.st_size};
    const Elf64_Ehdr *head = at(&image, 0, sizeof *head);
    uint64_t bias = 0;
    bool all = head && memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
               head->e_machine == EM_X86_64 && bias_of(&image, head, base, &bias);
    for (int i = 0; all && i < count; i++) {
        uint64_t value = value_of(&image, head, SHT_DYNSYM, names[i]);
        value = value ? value : value_of(&image, head, SHT_SYMTAB, names[i]);
        found[i] = value + bias;
        all = value != 0;
    }
    munmap(mapped, image.size);
    return all;
}

/* Files with "python" in their name, and the program itself, which is mapped first. */
bool remote_find(pid_t pid, const char *const *names, uint64_t *found, int count)
{
    char path[64], line[4600], seen[4200] = "";
    bool all = false, first = true;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && !all && fgets(line, sizeof line, maps)) {
        uint64_t start, offset;
        int text = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %*u %n", &start, &offset, &text) != 2 || !text ||
            line[text] != '/' || offset != 0 || strcmp(seen, line + text) == 0)
            continue;
        snprintf(seen, sizeof seen, "%.4190s", line + text);
        const char *name = strrchr(seen, '/');
        if (first || strstr(name, "python"))
            all = look_in(pid, seen, start, names, found, count);
        first = false;
    }
    if (maps)
        fclose(maps);
    return all;
}

/* The kernel's own page in every process has the instruction that calls the kernel. */
uint64_t remote_find_syscall(pid_t pid)
{
    char path[64], line[4600];
    uint64_t start = 0, end = 0, found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]") && sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2)
            break;
    if (maps)
        fclose(maps);
    unsigned char code[16384];
    const size_t length = end > start && end - start < sizeof code ? end - start : end > start ? sizeof code : 0;
    if (!length || !remote_read(pid, start, code, length))
        return 0;
    for (size_t i = 0; !found && i + 1 < length; i++)
        if (code[i] == 0x0f && code[i + 1] == 0x05)
            found = start + i;
    return found;
}

#endif
