/* The tables that say what a report file holds: one row a key, from which the YAML writer and reader, the JSON emitter and
 * the JSON Schema are all driven. */
#pragma once
#include "report/findings.h"
#include "report/report.h"

#define REPORT_SCHEMA "steptop/report/"
#define REPORT_SCHEMA_VERSION 1

enum field_kind {
    FIELD_STRING, /* const char *; left out when NULL or "" */
    FIELD_CHARS,  /* char[size]; left out when "" */
    FIELD_WORD,   /* const char * of a table's column, without blanks; "-" when "" */
    FIELD_REST,   /* const char * of a table's last column: the rest of the line */
    FIELD_BOOL,
    FIELD_UNSIGNED, /* of `size` bytes; 64 bits: left out when UNKNOWN_U64 */
    FIELD_SIGNED,
    FIELD_INDEX,   /* int32_t into another table; -1 is "-" */
    FIELD_DOUBLE,  /* left out when NaN */
    FIELD_ROUNDED, /* double, written as an integer: a time in ns */
    FIELD_ENUM,    /* of `size` bytes, by name */
    FIELD_FLAGS,   /* unsigned: bit set, a list of names */
    FIELD_SERIES,  /* uint64_t * and, at `count_offset`, size_t: a list of integers */
    FIELD_NAMES,   /* const char *[count]: a list of strings; left out when the first is "" */
    FIELD_MAP,     /* a struct in place */
    FIELD_KEYED,   /* `count` structs in place, keyed by name */
    FIELD_LIST,    /* pointer to structs and, at `count_offset`, size_t: a list of maps */
    FIELD_TABLE,   /* the same for many rows: a literal block, a header line and one row a line */
    FIELD_DERIVED, /* a table's column that readers of the file like and that is worked out anew when it is read */
    FIELD_CELLS,   /* the cells of a struct report */
};

struct field;
struct field_set {
    const char *name; /* for messages: "a phase" */
    const struct field *fields;
    int count;
    size_t size; /* of the struct */
    ptrdiff_t
        absent; /* where, from the struct, the uint64_t is that has a bit for each key which the file did not give; 0: none */
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset, count_offset, size;
    const char *about; /* unit and meaning, for the schema */
    bool required;
    bool zero;                      /* a count: 0 when the file does not say */
    uint64_t most;                  /* largest value of an integer; 0: what its size holds */
    const char *special;            /* the word for UINT32_MAX: "forever"; "": left out */
    const char *(*name)(int value); /* FIELD_ENUM, FIELD_FLAGS, FIELD_KEYED */
    int count;                      /* of names; of FIELD_NAMES, FIELD_KEYED */
    const struct field_set *fields; /* of the struct or row */
    bool (*present)(
        const void *item); /* FIELD_MAP, FIELD_KEYED, FIELD_BOOL (of the struct it is in): written only when true */
    void (*mark)(void *item, int index);                          /* FIELD_KEYED: called when one was read */
    double (*derive)(const struct report_cell *cell, size_t row); /* FIELD_DERIVED; NaN: "-" */
    int otherwise; /* FIELD_ENUM: the value of a column that is not there */
    bool scratch;  /* FIELD_TABLE: rows that file_cell_finish hands on, not kept after reading */
};

/* What a kernel's `copy` is in a file from before it was a column; file_cell_finish puts what its name says in its place. */
#define COPY_UNSAID COPY_DIRECTIONS

/* Fields whose rows live elsewhere in the cell while it is in memory: made before writing, taken back after reading. */
struct report_histogram_row {
    uint32_t kernel;
    bool warmup;
    const char *bins;
}; /* "bin:count bin:count" */
struct report_counter_row {
    uint32_t kernel;
    const char *counter;
    uint64_t value, samples, own;
};
struct report_curve_row {
    uint32_t node;
    uint8_t phase, kind;
    uint64_t live_bytes;
};

/* A cell as it is in the file: the document's cell first, then those rows. */
struct file_cell {
    struct report_cell cell;
    struct report_histogram_row *histograms;
    size_t histogram_count;
    struct report_counter_row *counters;
    size_t counter_count;
    struct report_curve_row *curve;
    size_t curve_count;
    uint64_t *phase_nodes; /* nodes of each phase */
    size_t phase_nodes_count;
    struct findings findings; /* worked out when it is written, and anew by whoever has read it */
};

extern const struct field_set report_fields; /* of struct report */
extern const struct field_set cell_fields;   /* of struct file_cell */

/* Integers of any size. */
uint64_t field_unsigned(const void *place, size_t size);
void field_set_unsigned(void *place, size_t size, uint64_t value);
bool field_is_known(const struct field *field, const void *item);
/* The same of a key of a map, and that the file gave it; a count of none is as good as absent. */
bool key_is_known(const struct field_set *set, int key, const void *item);
void keys_absent(const struct field_set *set, void *item, uint64_t mask);
void fields_clear(const struct field_set *set, void *item); /* every field to its unknown value */
void fields_clear_phase(struct report_phase *phase);
void fields_clear_pass(struct report_pass *pass);
int field_enum(const struct field *field, const char *text, size_t length); /* -1: no such name */

/* Makes the rows of struct file_cell from its cell and the findings among the cells of `report`, in `arena`; pointers into the cell
 * stay the cell's. */
void file_cell_make(struct file_cell *file, const struct report *report, const struct report_cell *cell,
                    struct arena *arena);
/* After reading: indices checked, rows handed back to the cell, what is worked out worked out (cell_derive). */
bool file_cell_finish(struct file_cell *file, struct error *error);

/* A number as the files have it: an integer when it is one or beyond a million, else nine significant digits. */
const void *pointer_at(const void *item, size_t offset); /* the pointer that stands there */
/* Is the row's value known? Where it is not, a table has a dash. */
bool column_is_known(const struct field *field, const struct report_cell *cell, const void *row, size_t index);
void number_print(struct strbuf *out, double value);
void put_count(struct strbuf *out, uint64_t value); /* "n/a" when unknown: the one way a count gets into a text */
/* The cell of a table's column, "-" when unknown. */
void column_print(struct strbuf *out, const struct field *field, const struct report_cell *cell, const void *row,
                  size_t index);
