/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as an ordered tree that prints back what it read: keys keep their order, numbers and strings
 * their source text. The only user of yajl, through its streaming parser. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/err.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum json_policy {
    JSON_STRICT,  /* our own files: a repeated key is an error */
    JSON_PRESERVE /* a bundle's: repeated keys are kept (lookups find the last, as Go does) */
};

#define JSON_MAX_SIZE (16u << 20) /* bytes of text */
#define JSON_MAX_DEPTH 64
#define JSON_MAX_NODES 1000000u

struct json {
    enum json_type type;
    bool boolean;
    char *text;  /* JSON_STRING: decoded and NUL-terminated; JSON_NUMBER: as written */
    size_t size; /* bytes of text; a string with an embedded NUL is longer than strlen says */
    char *raw;   /* source text of a parsed string with its quotes, printed as it is; or NULL */
    char *key;   /* name inside an object, decoded; NULL elsewhere */
    char *raw_key;
    struct json *parent, *first, *last, *prev, *next;
};

/* Parses exactly one value. The message names line and column. Frees with json_free. */
int json_parse(const char *text, size_t size, enum json_policy policy, struct json **ret_root,
               struct err *err);

/* Reads and parses a file; messages start with its name. */
int json_parse_file(int dirfd, const char *path, enum json_policy policy, struct json **ret_root,
                    struct err *err);

/* Prints compactly; the caller frees. No newline at the end. */
char *json_print(const struct json *root, size_t *ret_size);

void json_free(struct json *root);
static inline void json_freep(struct json **root) {
    json_free(*root);
}

/* Lookup; NULL when object is NULL, no object, or has no such key. The typed forms are NULL too for
 * another type, and json_get_string for a text with an embedded NUL. */
struct json *json_get(const struct json *object, const char *key);
struct json *json_get_object(const struct json *object, const char *key);
struct json *json_get_array(const struct json *object, const char *key);
const char *json_get_string(const struct json *object, const char *key);

/* The node's own text if it is a string without NUL, else NULL. */
const char *json_string(const struct json *node);
/* -EINVAL unless node is a number that fits (json_u64: a plain non-negative integer). */
int json_u64(const struct json *node, uint64_t *ret_value);
int json_double(const struct json *node, double *ret_value);

/* Building. The _add functions take ownership of child and return it. */
struct json *json_new(enum json_type type);
struct json *json_new_string(const char *text);
struct json *json_new_u64(uint64_t value);
struct json *json_new_double(double value); /* shortest text that reads back; not finite: null */
struct json *json_new_bool(bool value);
struct json *json_add(struct json *object, const char *key, struct json *child);
struct json *json_append(struct json *array, struct json *child);
/* Replaces the value of key, or adds it at the end. */
struct json *json_set(struct json *object, const char *key, struct json *child);
/* Puts fresh (no parent) right behind node in its array. */
void json_insert_after(struct json *node, struct json *fresh);
/* Takes node out of its parent; the caller owns it. */
struct json *json_detach(struct json *node);

/* For own formats: -EINVAL naming the first key of object that is not in the NULL-ended list. */
int json_check_keys(const struct json *object, const char *const *known, struct err *err);

#define _cleanup_json_ __attribute__((cleanup(json_freep)))
