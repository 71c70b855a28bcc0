/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/json.h"

#include <errno.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

struct parser {
    yajl_handle handle;
    const char *text;
    size_t prev_end; /* offset behind the last token */
    enum json_policy policy;
    struct json *root, *current;
    char *key, *raw_key; /* read, waiting for its value */
    unsigned depth;
    size_t nodes;
    struct err *err;
    int code; /* errno of an error of ours, 0: none */
};

static char *copy_text(const void *data, size_t size) {
    char *copy = io_alloc(size + 1, 1);

    memcpy(copy, data, size);
    return copy;
}

/* The source text of the token that yajl has just reported. */
static char *raw_token(struct parser *p) {
    size_t end = yajl_get_bytes_consumed(p->handle);
    size_t start = p->prev_end;

    while (start < end && strchr(" \t\r\n,:[{", p->text[start]))
        start++;
    return copy_text(p->text + start, end - start);
}

static void step_over(struct parser *p) {
    p->prev_end = yajl_get_bytes_consumed(p->handle);
}

static int fail(struct parser *p, int code, const char *what) {
    p->code = code;
    err_set(p->err, code, "%s", what);
    return 0;
}

static int add_node(struct parser *p, struct json *node) {
    step_over(p);
    node->key = take_ptr(p->key);
    node->raw_key = take_ptr(p->raw_key);
    if (p->current)
        json_append(p->current, node);
    else
        p->root = node;
    if (++p->nodes > JSON_MAX_NODES)
        return fail(p, E2BIG, "too many values");
    return 1;
}

static int on_null(void *ctx) {
    return add_node(ctx, json_new(JSON_NULL));
}

static int on_boolean(void *ctx, int value) {
    return add_node(ctx, json_new_bool(value));
}

static int on_number(void *ctx, const char *text, size_t size) {
    struct json *node = json_new(JSON_NUMBER);

    node->text = copy_text(text, size);
    node->size = size;
    return add_node(ctx, node);
}

static int on_string(void *ctx, const unsigned char *text, size_t size) {
    struct json *node = json_new(JSON_STRING);

    node->text = copy_text(text, size);
    node->size = size;
    node->raw = raw_token(ctx);
    return add_node(ctx, node);
}

static int open_container(struct parser *p, enum json_type type) {
    struct json *node = json_new(type);
    int ok = add_node(p, node);

    p->current = node;
    if (++p->depth > JSON_MAX_DEPTH)
        return fail(p, E2BIG, "nested too deeply");
    return ok;
}

static int close_container(struct parser *p) {
    step_over(p);
    p->current = p->current->parent;
    p->depth--;
    return 1;
}

static int on_start_map(void *ctx) {
    return open_container(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx) {
    return open_container(ctx, JSON_ARRAY);
}

static int on_end(void *ctx) {
    return close_container(ctx);
}

static int on_map_key(void *ctx, const unsigned char *text, size_t size) {
    struct parser *p = ctx;

    p->key = copy_text(text, size);
    p->raw_key = raw_token(p);
    step_over(p);
    if (p->policy == JSON_STRICT) {
        if (strlen(p->key) != size)
            return fail(p, EINVAL, "a key holds a NUL");
        if (json_get(p->current, p->key))
            return fail(p, EINVAL, "a key is repeated");
    }
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_map_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

static int position_error(struct parser *p, size_t size, struct err *err) {
    struct err inner = {.text = "not valid JSON"};
    size_t at = yajl_get_bytes_consumed(p->handle), line = 1, column = 1;
    int code = p->code ? p->code : EINVAL;

    if (p->code && err)
        inner = *err;
    for (size_t i = 0; i < at && i < size; i++) {
        column = p->text[i] == '\n' ? 1 : column + 1;
        line += p->text[i] == '\n';
    }
    return err_set(err, code, "line %zu column %zu: %.400s", line, column, inner.text);
}

int json_parse(const char *text, size_t size, enum json_policy policy, struct json **ret_root,
               struct err *err) {
    struct parser p = {.text = text, .policy = policy, .err = err};
    yajl_status status;
    bool stray;
    int r = 0;

    if (size > JSON_MAX_SIZE)
        return err_set(err, EFBIG, "larger than %u bytes", JSON_MAX_SIZE);
    p.handle = yajl_alloc(&callbacks, NULL, &p);
    if (!p.handle)
        abort();
    /* yajl takes these two for white space, JSON and Go do not; inside a string they are wrong too. */
    stray = memchr(text, '\f', size) || memchr(text, '\v', size);
    status = stray ? yajl_status_error : yajl_parse(p.handle, (const unsigned char *)text, size);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(p.handle);
    if (status != yajl_status_ok)
        r = position_error(&p, size, err);
    else if (!p.root)
        r = err_set(err, EINVAL, "empty, no JSON value");
    yajl_free(p.handle);
    free(p.key);
    free(p.raw_key);
    if (r < 0)
        json_free(p.root);
    else
        *ret_root = p.root;
    return r;
}

int json_parse_file(int dirfd, const char *path, enum json_policy policy, struct json **ret_root,
                    struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = io_read_file(dirfd, path, JSON_MAX_SIZE, &text, &size, err);

    if (r < 0)
        return r;
    r = json_parse(text, size, policy, ret_root, err);
    return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}
