/* SPDX-License-Identifier: Apache-2.0 */
/* The tree behind json.h: printing, lookup and building; no parser in here. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

static void put_string(FILE *out, const char *text, size_t size) {
    putc('"', out);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void put_node(FILE *out, const struct json *node) {
    switch (node->type) {
    case JSON_NULL:
        fputs("null", out);
        break;
    case JSON_BOOL:
        fputs(node->boolean ? "true" : "false", out);
        break;
    case JSON_NUMBER:
        fwrite(node->text, 1, node->size, out);
        break;
    case JSON_STRING:
        if (node->raw)
            fputs(node->raw, out);
        else
            put_string(out, node->text, node->size);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        putc(node->type == JSON_ARRAY ? '[' : '{', out);
        for (const struct json *child = node->first; child; child = child->next) {
            if (child != node->first)
                putc(',', out);
            if (child->raw_key)
                fprintf(out, "%s:", child->raw_key);
            else if (child->key) {
                put_string(out, child->key, strlen(child->key));
                putc(':', out);
            }
            put_node(out, child);
        }
        putc(node->type == JSON_ARRAY ? ']' : '}', out);
        break;
    }
}

char *json_print(const struct json *root, size_t *ret_size) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    put_node(out, root);
    if (fclose(out) != 0)
        abort();
    if (ret_size)
        *ret_size = size;
    return text;
}

void json_free(struct json *root) {
    if (!root)
        return;
    for (struct json *child = root->first; child;) {
        struct json *next = child->next;

        json_free(child);
        child = next;
    }
    free(root->text);
    free(root->raw);
    free(root->key);
    free(root->raw_key);
    free(root);
}

struct json *json_get(const struct json *object, const char *key) {
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (struct json *child = object->last; child; child = child->prev)
        if (child->key && strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

static struct json *get_typed(const struct json *object, const char *key, enum json_type type) {
    struct json *node = json_get(object, key);

    return node && node->type == type ? node : NULL;
}

struct json *json_get_object(const struct json *object, const char *key) {
    return get_typed(object, key, JSON_OBJECT);
}

struct json *json_get_array(const struct json *object, const char *key) {
    return get_typed(object, key, JSON_ARRAY);
}

const char *json_string(const struct json *node) {
    return node && node->type == JSON_STRING && strlen(node->text) == node->size ? node->text
                                                                                 : NULL;
}

const char *json_get_string(const struct json *object, const char *key) {
    return json_string(json_get(object, key));
}

int json_u64(const struct json *node, uint64_t *ret_value) {
    if (!node || node->type != JSON_NUMBER)
        return -EINVAL;
    return io_parse_u64(node->text, UINT64_MAX, ret_value);
}

int json_double(const struct json *node, double *ret_value) {
    double value;

    if (!node || node->type != JSON_NUMBER)
        return -EINVAL;
    value = strtod(node->text, NULL);
    if (!isfinite(value))
        return -EINVAL;
    *ret_value = value;
    return 0;
}

struct json *json_new(enum json_type type) {
    struct json *node = io_alloc(1, sizeof(*node));

    node->type = type;
    return node;
}

static struct json *new_text(enum json_type type, char *text) {
    struct json *node = json_new(type);

    node->text = text;
    node->size = strlen(text);
    return node;
}

struct json *json_new_string(const char *text) {
    return new_text(JSON_STRING, io_strdup(text));
}

struct json *json_new_u64(uint64_t value) {
    return new_text(JSON_NUMBER, io_format("%llu", (unsigned long long)value));
}

struct json *json_new_double(double value) {
    char *text = NULL;

    if (!isfinite(value))
        return json_new(JSON_NULL);
    for (int digits = 6; digits <= 17; digits += 3) {
        free(text);
        text = io_format("%.*g", digits > 17 ? 17 : digits, value);
        if (strtod(text, NULL) == value)
            return new_text(JSON_NUMBER, text);
    }
    free(text);
    return new_text(JSON_NUMBER, io_format("%.17g", value));
}

struct json *json_new_bool(bool value) {
    struct json *node = json_new(JSON_BOOL);

    node->boolean = value;
    return node;
}

struct json *json_append(struct json *array, struct json *child) {
    child->parent = array;
    child->prev = array->last;
    child->next = NULL;
    if (array->last)
        array->last->next = child;
    else
        array->first = child;
    array->last = child;
    return child;
}

struct json *json_add(struct json *object, const char *key, struct json *child) {
    free(child->raw_key);
    child->raw_key = NULL;
    free(child->key);
    child->key = io_strdup(key);
    return json_append(object, child);
}

struct json *json_set(struct json *object, const char *key, struct json *child) {
    struct json *old = json_get(object, key);

    if (!old)
        return json_add(object, key, child);
    free(child->key);
    free(child->raw_key);
    child->key = take_ptr(old->key);
    child->raw_key = take_ptr(old->raw_key);
    json_insert_after(old, child);
    json_free(json_detach(old));
    return child;
}

void json_insert_after(struct json *node, struct json *fresh) {
    fresh->parent = node->parent;
    fresh->prev = node;
    fresh->next = node->next;
    if (node->next)
        node->next->prev = fresh;
    else
        node->parent->last = fresh;
    node->next = fresh;
}

struct json *json_detach(struct json *node) {
    if (node->prev)
        node->prev->next = node->next;
    else if (node->parent)
        node->parent->first = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else if (node->parent)
        node->parent->last = node->prev;
    node->parent = node->prev = node->next = NULL;
    return node;
}

int json_check_keys(const struct json *object, const char *const *known, struct err *err) {
    if (object->type != JSON_OBJECT)
        return err_set(err, EINVAL, "not an object");
    for (const struct json *child = object->first; child; child = child->next) {
        bool found = false;

        for (const char *const *name = known; *name && !found; name++)
            found = strcmp(child->key, *name) == 0;
        if (!found)
            return err_set(err, EINVAL, "unknown key \"%.100s\"", child->key);
    }
    return 0;
}
