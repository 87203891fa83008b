/* libyaml's events into a tree, refusing what a profile has no use for. */
#include "profiles/tree.h"
#include "base/text.h"
#include <stdint.h>
#include <string.h>
#include <yaml.h>

struct builder {
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct tree *open[TREE_DEPTH_MAX], *last[TREE_DEPTH_MAX];
    struct tree *key[TREE_DEPTH_MAX]; /* a mapping's key that waits for its value */
    int depth;
    struct tree *root;
};

static struct place place_of(yaml_mark_t mark)
{
    return (struct place){mark.line + 1, mark.column + 1};
}

/* Line and column of a byte. */
static struct place place_at(const char *text, size_t offset)
{
    struct place place = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n')
            place = (struct place){place.line + 1, 1};
        else if (((unsigned char)text[i] & 0xc0) != 0x80)
            place.column++;
    }
    return place;
}

/* Offset of the first byte that is not UTF-8, or `length`. */
static size_t utf8_valid(const char *text, size_t length)
{
    size_t at = 0, used = 1;
    unsigned c;
    for (; at < length && used; at += used)
        used = utf8_decode(text + at, length - at, &c);
    return at;
}

static bool take_key(struct builder *builder, struct tree *node)
{
    const struct tree *mapping = builder->open[builder->depth - 1];
    if (node->kind != TREE_SCALAR) {
        diagnose(builder->diagnostics, node->place, "a key must be a word, not %s", tree_kind_words(node));
        return false;
    }
    if (node->plain && strcmp(node->text, "<<") == 0) {
        diagnose(builder->diagnostics, node->place, "merge keys (<<) are not read here; write the keys out");
        return false;
    }
    if (mapping->count >= TREE_KEYS_MAX) {
        diagnose(builder->diagnostics, node->place, "a mapping with more than %d keys", TREE_KEYS_MAX);
        return false;
    }
    const struct tree *twin = tree_get(mapping, node->text);
    if (twin)
        diagnose(builder->diagnostics, node->place, "'%.64s' is given twice; the first stands at line %zu, column %zu",
                 node->text, twin->key->place.line, twin->key->place.column);
    builder->key[builder->depth - 1] = node;
    return true;
}

static bool take_node(struct builder *builder, struct tree *node)
{
    if (builder->depth == 0)
        builder->root = node;
    else {
        const int top = builder->depth - 1;
        struct tree *parent = builder->open[top];
        if (parent->kind == TREE_MAPPING && !builder->key[top])
            return take_key(builder, node);
        node->key = builder->key[top];
        builder->key[top] = NULL;
        if (builder->last[top])
            builder->last[top]->next = node;
        else
            parent->first = node;
        builder->last[top] = node;
        parent->count++;
    }
    if (node->kind == TREE_SCALAR)
        return true;
    if (builder->depth == TREE_DEPTH_MAX) {
        diagnose(builder->diagnostics, node->place, "nested more than %d deep", TREE_DEPTH_MAX);
        return false;
    }
    builder->open[builder->depth] = node;
    builder->last[builder->depth] = builder->key[builder->depth] = NULL;
    builder->depth++;
    return true;
}

static bool refuse_anchor_and_tag(struct builder *builder, struct place place, const yaml_char_t *anchor,
                                  const yaml_char_t *tag)
{
    if (anchor)
        diagnose(builder->diagnostics, place, "anchors (&%.32s) are not read here; write the value out",
                 (const char *)anchor);
    if (tag)
        diagnose(builder->diagnostics, place, "tags (%.48s) are not read here; the key says the type",
                 (const char *)tag);
    return !anchor && !tag;
}

/* False ends the reading; *end is set at the end of the stream. */
static bool take_event(struct builder *builder, const yaml_event_t *event, bool *end)
{
    const struct place place = place_of(event->start_mark);
    struct tree *node = arena_alloc(builder->arena, sizeof *node);
    node->place = place;
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        *end = true;
        return true;
    case YAML_DOCUMENT_START_EVENT:
        if (builder->root) {
            diagnose(builder->diagnostics, place, "a second document; a profile is one");
            return false;
        }
        return true;
    case YAML_ALIAS_EVENT:
        diagnose(builder->diagnostics, place, "aliases (*%.32s) are not read here; write the value out",
                 (const char *)event->data.alias.anchor);
        return false;
    case YAML_SCALAR_EVENT:
        if (!refuse_anchor_and_tag(builder, place, event->data.scalar.anchor, event->data.scalar.tag))
            return false;
        node->kind = TREE_SCALAR;
        node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        node->text = arena_strndup(builder->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
        if (strlen(node->text) != event->data.scalar.length) {
            diagnose(builder->diagnostics, place, "a NUL character in a value");
            return false;
        }
        return take_node(builder, node);
    case YAML_SEQUENCE_START_EVENT:
        node->kind = TREE_LIST;
        return refuse_anchor_and_tag(builder, place, event->data.sequence_start.anchor,
                                     event->data.sequence_start.tag) &&
               take_node(builder, node);
    case YAML_MAPPING_START_EVENT:
        node->kind = TREE_MAPPING;
        return refuse_anchor_and_tag(builder, place, event->data.mapping_start.anchor, event->data.mapping_start.tag) &&
               take_node(builder, node);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        return true;
    default:
        return true;
    }
}

static void diagnose_parser(struct diagnostics *diagnostics, const yaml_parser_t *parser)
{
    struct place place = place_of(parser->problem_mark);
    if (parser->error == YAML_READER_ERROR)
        place = place_at(diagnostics->text, parser->problem_offset < diagnostics->length ? parser->problem_offset : 0);
    diagnose(diagnostics, place, "not YAML: %s%s%s", parser->problem ? parser->problem : "out of memory",
             parser->context ? " " : "", parser->context ? parser->context : "");
}

struct tree *tree_parse(const char *text, size_t length, struct arena *arena, struct diagnostics *diagnostics)
{
    struct builder builder = {.arena = arena, .diagnostics = diagnostics};
    if (text_utf16(text, length)) {
        diagnose(diagnostics, place_at(text, 0), "this is UTF-16; save it as UTF-8");
        return NULL;
    }
    const char *zero = memchr(text, 0, length);
    if (zero) {
        diagnose(diagnostics, place_at(text, (size_t)(zero - text)), "a NUL character");
        return NULL;
    }
    const size_t valid = utf8_valid(text, length);
    if (valid < length) {
        diagnose(diagnostics, place_at(text, valid), "the byte 0x%02x is not UTF-8 here", (unsigned char)text[valid]);
        return NULL;
    }
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark in front says nothing here */
        text += 3;
        length -= 3;
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        diagnose(diagnostics, (struct place){0}, "no memory for the YAML parser");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    bool end = false, good = true;
    while (good && !end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            diagnose_parser(diagnostics, &parser);
            good = false;
            break;
        }
        good = take_event(&builder, &event, &end);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (good && !builder.root)
        diagnose(diagnostics, (struct place){1, 1}, "the file is empty");
    return good ? builder.root : NULL;
}

const struct tree *tree_get(const struct tree *mapping, const char *key)
{
    for (const struct tree *child = mapping->first; child; child = child->next) {
        if (strcmp(child->key->text, key) == 0)
            return child;
    }
    return NULL;
}

const char *tree_kind_words(const struct tree *tree)
{
    static const char *const words[] = {
        [TREE_SCALAR] = "a single value", [TREE_LIST] = "a list", [TREE_MAPPING] = "a mapping"};
    return words[tree->kind];
}
