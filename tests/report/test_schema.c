/* The JSON Schema of a report against what the emitter writes: both come from the reader's tables. The checker knows the
 * keywords that the schema uses and no more. */
#include "report/emit.h"
#include "report/escape.h"
#include "report/json_schema.h"
#include "synthetic.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
    json_error_t problem;
    json_t *json = json_loads(text, 0, &problem);
    if (!json)
        fail_msg("line %d: %s", problem.line, problem.text);
    return json;
}

static bool is_type(const json_t *value, const char *type)
{
    static const char *const names[] = {"object", "array", "string", "boolean", "integer", "number", "null"};
    const bool holds[] = {json_is_object(value),  json_is_array(value),  json_is_string(value), json_is_boolean(value),
                          json_is_integer(value), json_is_number(value), json_is_null(value)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(type, names[i]) == 0)
            return holds[i];
    fail_msg("the schema names the type '%s'", type);
    return false;
}

static bool conforms(const json_t *schema, const json_t *value, char *why, size_t size);

static bool object_conforms(const json_t *schema, const json_t *value, char *why, size_t size)
{
    const json_t *properties = json_object_get(schema, "properties"), *name, *member;
    const char *key;
    size_t index;
    json_array_foreach(json_object_get(schema, "required"), index, name)
    {
        if (!json_object_get(value, json_string_value(name))) {
            snprintf(why, size, "lacks %s", json_string_value(name));
            return false;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        const json_t *property = json_object_get(properties, key);
        if (!property && json_is_false(json_object_get(schema, "additionalProperties"))) {
            snprintf(why, size, "has %s", key);
            return false;
        }
        char inner[200];
        if (property && !conforms(property, member, inner, sizeof inner)) {
            snprintf(why, size, "%.80s: %.100s", key, inner);
            return false;
        }
    }
    return true;
}

/* The keywords that the schemas use of JSON Schema's; another one fails the test, so that none goes unchecked. */
static bool conforms(const json_t *schema, const json_t *value, char *why, size_t size)
{
    const json_t *rule, *each;
    const char *keyword;
    size_t index;
    json_object_foreach((json_t *)(uintptr_t)schema, keyword, rule)
    {
        bool good = true;
        if (strcmp(keyword, "type") == 0) {
            good = json_is_string(rule) && is_type(value, json_string_value(rule));
            json_array_foreach(rule, index, each) good = good || is_type(value, json_string_value(each));
        } else if (strcmp(keyword, "const") == 0)
            good = json_equal(rule, value);
        else if (strcmp(keyword, "enum") == 0) {
            good = false;
            json_array_foreach(rule, index, each) good = good || json_equal(each, value);
        } else if (strcmp(keyword, "minimum") == 0)
            good = !json_is_number(value) || json_number_value(value) >= json_number_value(rule);
        else if (strcmp(keyword, "maximum") == 0)
            good = !json_is_number(value) || json_number_value(value) <= json_number_value(rule);
        else if (strcmp(keyword, "maxLength") == 0)
            good = !json_is_string(value) || utf8_length(json_string_value(value)) <= (size_t)json_integer_value(rule);
        else if (strcmp(keyword, "maxItems") == 0)
            good = json_array_size(value) <= (size_t)json_integer_value(rule);
        else if (strcmp(keyword, "items") == 0) {
            json_array_foreach(value, index, each) if (good) good = conforms(rule, each, why, size);
            if (!good)
                return false;
        } else if (strcmp(keyword, "oneOf") == 0) {
            int fitting = 0;
            json_array_foreach(rule, index, each) fitting += conforms(each, value, why, size);
            good = fitting == 1;
        } else if (strcmp(keyword, "properties") == 0) {
            if (!object_conforms(schema, value, why, size))
                return false;
        } else if (strcmp(keyword, "$schema") != 0 && strcmp(keyword, "title") != 0 &&
                   strcmp(keyword, "description") != 0 && strcmp(keyword, "required") != 0 &&
                   strcmp(keyword, "additionalProperties") != 0)
            fail_msg("the schema uses '%s', which is not checked here", keyword);
        if (!good) {
            snprintf(why, size, "breaks %s", keyword);
            return false;
        }
    }
    return true;
}

/* What the emitters write is what the schema allows, and what it does not allow is refused. */
static void test_schema(void **state)
{
    (void)state;
    struct strbuf out = {0};
    char why[256];
    report_schema(&out);
    json_t *schema = parse(out.text);
    for (int compile = 0; compile < 2; compile++) {
        struct report report;
        synthetic_report(&report, "tiny", compile != 0, 3, 1);
        report.cells.items[0]->kernels[0].name = "k<\"&'>\\ \033[2J\x80 ,=\n";
        strbuf_clear(&out);
        emit_json(&report, &out);
        json_t *json = parse(out.text);
        if (!conforms(schema, json, why, sizeof why))
            fail_msg("%s", why);
        json_t *cell = json_array_get(json_object_get(json, "cells"), 0);
        assert_non_null(json_object_get(cell, "kernels"));
        json_t *status = json_incref(json_object_get(cell, "status"));
        json_object_set_new(cell, "status", json_string("okay"));
        assert_false(conforms(schema, json, why, sizeof why));
        assert_string_equal(why, "cells: status: breaks enum");
        json_object_del(cell, "status");
        assert_false(conforms(schema, json, why, sizeof why));
        assert_string_equal(why, "cells: lacks status");
        json_object_set_new(cell, "status", status);
        assert_true(conforms(schema, json, why, sizeof why));
        json_object_set_new(cell, "records", json_integer(-1));
        assert_false(conforms(schema, json, why, sizeof why));
        json_object_set_new(cell, "records", json_integer(1));
        json_object_set_new(cell, "recods", json_integer(1));
        assert_false(conforms(schema, json, why, sizeof why));
        assert_string_equal(why, "cells: has recods");
        json_decref(json);
        report_free(&report);
    }
    json_decref(schema);
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schema)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
