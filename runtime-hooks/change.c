/* SPDX-License-Identifier: Apache-2.0 */
/* The change set as data: building, order, JSON. */
#include "runtime-hooks/change.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

static const char *const type_names[NODE_TYPES] = {"absent", "file", "directory", "symlink"};

struct change *changes_add(struct changes *changes, const char *path) {
    struct change *change;

    changes->list = io_grow(changes->list, changes->n, sizeof(*changes->list));
    change = &changes->list[changes->n++];
    *change = (struct change){.path = io_strdup(path)};
    return change;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

void changes_sort(struct changes *changes) {
    if (changes->n)
        qsort(changes->list, changes->n, sizeof(*changes->list), compare_paths);
}

struct change *changes_find(const struct changes *changes, const char *path) {
    size_t low = 0, high = changes->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(path, changes->list[middle].path);

        if (order == 0)
            return &changes->list[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void node_free(struct node *node) {
    free(node->target);
    free(node->blob);
    free(node->capability);
    free(node->same_as);
    *node = (struct node){0};
}

void change_free(struct change *change) {
    free(change->path);
    free(change->staged);
    node_free(&change->before);
    node_free(&change->after);
    *change = (struct change){0};
}

void changes_free(struct changes *changes) {
    for (size_t i = 0; i < changes->n; i++)
        change_free(&changes->list[i]);
    free(changes->list);
    *changes = (struct changes){0};
}

void changes_sum(const struct changes *changes, uint64_t *ret_files, uint64_t *ret_bytes) {
    *ret_files = *ret_bytes = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct node *node = &changes->list[i].after;

        if (node->type == NODE_FILE && !node->same_as) {
            ++*ret_files;
            *ret_bytes += node->size;
        }
    }
}

bool node_same(const struct node *a, const struct node *b) {
    const char *target_a = a->target ? a->target : "", *target_b = b->target ? b->target : "";
    const char *cap_a = a->capability ? a->capability : "";
    const char *cap_b = b->capability ? b->capability : "";

    if (a->type != b->type)
        return false;
    return a->type == NODE_ABSENT ||
           (a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
            strcmp(target_a, target_b) == 0 && strcmp(cap_a, cap_b) == 0);
}

bool path_is_compiled(const char *path) {
    return io_ends_with(path, ".pyc") || io_ends_with(path, ".pyo") || io_ends_with(path, "/__pycache__");
}

/* JSON text is UTF-8 and a path is bytes: what is not printable ASCII is written as %XX. */
static char *encode(const char *path) {
    char *text = io_alloc(strlen(path) * 3 + 1, 1), *out = text;

    for (const char *p = path; *p; p++) {
        if (*p > ' ' && *p < 0x7f && *p != '%')
            *out++ = *p;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*p);
    }
    return text;
}

static char *decode(const char *text) {
    char *path, *out;

    if (!text || strlen(text) > 3 * PATH_MAX)
        return NULL;
    path = out = io_alloc(strlen(text) + 1, 1);
    for (const char *p = text; *p; p++) {
        char digits[3] = "";

        if (*p != '%') {
            *out++ = *p;
            continue;
        }
        if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
            break;
        memcpy(digits, p + 1, 2);
        *out++ = (char)strtoul(digits, NULL, 16);
        p += 2;
    }
    return path;
}

/* Absolute, without empty, "." or ".." components. */
static bool path_valid(const char *path) {
    if (!path || path[0] != '/' || !path[1] || strlen(path) >= PATH_MAX)
        return false;
    for (const char *p = path; *p;) {
        size_t size = strcspn(p + 1, "/");

        if (size == 0 || size > NAME_MAX || (size == 1 && p[1] == '.') ||
            (size == 2 && p[1] == '.' && p[2] == '.'))
            return false;
        p += 1 + size;
    }
    return true;
}

static void add_encoded(struct json *object, const char *key, const char *text) {
    _cleanup_free_ char *encoded = text ? encode(text) : NULL;

    if (encoded)
        json_add(object, key, json_new_string(encoded));
}

static struct json *node_to_json(const struct node *node) {
    struct json *object = json_new(JSON_OBJECT);

    json_add(object, "type", json_new_string(type_names[node->type]));
    if (node->type == NODE_ABSENT)
        return object;
    json_add(object, "mode", json_new_u64(node->mode));
    json_add(object, "uid", json_new_u64(node->uid));
    json_add(object, "gid", json_new_u64(node->gid));
    if (node->type == NODE_FILE) {
        json_add(object, "size", json_new_u64(node->size));
        json_add(object, "mtime_ns", json_new_u64((uint64_t)node->mtime_ns));
    }
    add_encoded(object, "target", node->target);
    add_encoded(object, "blob", node->blob);
    add_encoded(object, "capability", node->capability);
    add_encoded(object, "same_as", node->same_as);
    return object;
}

/* By which a file of before is known again; that of after is another in each container. */
static void add_identity(struct json *object, const struct node *before) {
    if (before->type != NODE_FILE)
        return;
    json_add(object, "ctime_ns", json_new_u64((uint64_t)before->ctime_ns));
    json_add(object, "inode", json_new_u64(before->inode));
}

static int node_from_json(const struct json *object, struct node *node) {
    const char *type = json_get_string(object, "type");
    uint64_t mode, uid, gid, size = 0, mtime = 0, ctime = 0, inode = 0;
    int i = 0;

    while (i < NODE_TYPES && (!type || strcmp(type, type_names[i]) != 0))
        i++;
    if (i == NODE_TYPES)
        return -EINVAL;
    node->type = (enum node_type)i;
    if (node->type == NODE_ABSENT)
        return 0;
    if (json_u64(json_get(object, "mode"), &mode) < 0 || mode > 07777 ||
        json_u64(json_get(object, "uid"), &uid) < 0 || uid > UINT32_MAX ||
        json_u64(json_get(object, "gid"), &gid) < 0 || gid > UINT32_MAX)
        return -EINVAL;
    if (node->type == NODE_FILE && (json_u64(json_get(object, "size"), &size) < 0 ||
                                    json_u64(json_get(object, "mtime_ns"), &mtime) < 0))
        return -EINVAL;
    if (json_get(object, "inode") && (json_u64(json_get(object, "ctime_ns"), &ctime) < 0 ||
                                      json_u64(json_get(object, "inode"), &inode) < 0))
        return -EINVAL;
    node->mode = (mode_t)mode;
    node->uid = (uid_t)uid;
    node->gid = (gid_t)gid;
    node->size = size;
    node->mtime_ns = (int64_t)mtime;
    node->ctime_ns = (int64_t)ctime;
    node->inode = inode;
    node->target = decode(json_get_string(object, "target"));
    node->blob = decode(json_get_string(object, "blob"));
    node->capability = decode(json_get_string(object, "capability"));
    node->same_as = decode(json_get_string(object, "same_as"));
    if ((node->type == NODE_SYMLINK && !node->target) ||
        (node->blob && (strchr(node->blob, '/') || node->blob[0] == '.')) ||
        (node->same_as && !path_valid(node->same_as)))
        return -EINVAL;
    return 0;
}

struct json *changes_to_json(const struct changes *changes) {
    struct json *array = json_new(JSON_ARRAY);

    for (size_t i = 0; i < changes->n; i++) {
        struct json *object = json_append(array, json_new(JSON_OBJECT));

        add_encoded(object, "path", changes->list[i].path);
        add_identity(json_add(object, "before", node_to_json(&changes->list[i].before)), &changes->list[i].before);
        json_add(object, "after", node_to_json(&changes->list[i].after));
    }
    return array;
}

int changes_from_json(const struct json *array, struct changes *ret_changes, struct err *err) {
    _cleanup_changes_ struct changes changes = {0};
    size_t number = 0;

    if (!array || array->type != JSON_ARRAY)
        return err_set(err, EINVAL, "no list of changes");
    for (const struct json *object = array->first; object; object = object->next) {
        _cleanup_free_ char *path = decode(json_get_string(object, "path"));
        struct change *change;

        number++;
        if (!path_valid(path))
            return err_set(err, EINVAL, "change %zu has no valid path", number);
        change = changes_add(&changes, path);
        if (node_from_json(json_get_object(object, "before"), &change->before) < 0 ||
            node_from_json(json_get_object(object, "after"), &change->after) < 0)
            return err_set(err, EINVAL, "change %zu (%s) is not valid", number, path);
    }
    changes_sort(&changes);
    *ret_changes = changes;
    changes = (struct changes){0};
    return 0;
}
