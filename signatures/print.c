/* SPDX-License-Identifier: Apache-2.0 */
/* From a signature to its file: a key a line, and an object a line in lists, for people and diffs.
 */
#include <math.h>
#include <stdlib.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "signatures/signature.h"

static void add_text(struct json *object, const char *key, const char *text) {
    if (text)
        json_add(object, key, json_new_string(text));
}

static void add_strings(struct json *object, const char *key, char *const *strings) {
    struct json *array;

    if (!strings)
        return;
    array = json_add(object, key, json_new(JSON_ARRAY));
    for (; *strings; strings++)
        json_append(array, json_new_string(*strings));
}

static void add_affected(struct json *root, const struct signature *signature) {
    struct json *array;

    if (signature->n_affected == 0)
        return;
    array = json_add(root, "affected", json_new(JSON_ARRAY));
    for (size_t i = 0; i < signature->n_affected; i++) {
        struct json *object = json_append(array, json_new(JSON_OBJECT));

        add_text(object, "purl", signature->affected[i].purl);
        add_text(object, "introduced", signature->affected[i].introduced);
        add_text(object, "fixed", signature->affected[i].fixed);
    }
}

static void add_patch(struct json *root, const struct signature_patch *patch) {
    struct json *object;

    if (!patch)
        return;
    object = json_add(root, "patch", json_new(JSON_OBJECT));
    add_text(object, "manager", package_manager_name(patch->manager));
    add_text(object, "package", patch->package);
    add_text(object, "fixed", patch->fixed);
    add_text(object, "pickup", signature_pickup_name(patch->pickup));
    add_strings(object, "reload", patch->reload);
    add_strings(object, "prepare", patch->prepare);
    add_strings(object, "health", patch->health);
}

/* Three decimals say more than a few recorded runs know. */
static double rounded(float value) {
    return round((double)value * 1000) / 1000;
}

static void add_features(struct json *root, const struct signature *signature) {
    _cleanup_strings_ char **unmeasured = NULL;
    struct json *array = json_new(JSON_ARRAY);

    for (size_t i = 0; i < signature->n_features; i++) {
        const struct signature_feature *feature = &signature->features[i];
        struct json *object;

        if (isnan(feature->presence)) {
            strings_add(&unmeasured, feature->name);
            continue;
        }
        object = json_append(array, json_new(JSON_OBJECT));
        add_text(object, "name", feature->name);
        json_add(object, "presence", json_new_double(rounded(feature->presence)));
        if (rounded(feature->weight) != 0)
            json_add(object, "weight", json_new_double(rounded(feature->weight)));
    }
    if (array->first)
        json_add(root, "features", array);
    else
        json_free(array);
    add_strings(root, "unmeasured", unmeasured);
}

static void add_patterns(struct json *root, const struct signature *signature) {
    struct json *array;

    if (signature->n_patterns == 0)
        return;
    array = json_add(root, "evidence", json_new(JSON_ARRAY));
    for (size_t i = 0; i < signature->n_patterns; i++) {
        struct json *object = json_append(array, json_new(JSON_OBJECT));

        add_text(object, "kind", evidence_kind_name(signature->patterns[i].kind));
        add_text(object, "comm", signature->patterns[i].comm);
        add_text(object, "what", signature->patterns[i].what);
    }
}

static struct json *to_json(const struct signature *signature) {
    struct json *root = json_new(JSON_OBJECT);

    json_add(root, SIGNATURE_MARK, json_new_u64(SIGNATURE_VERSION));
    add_text(root, "id", signature->id);
    add_strings(root, "aliases", signature->aliases);
    add_text(root, "application", signature->application);
    add_affected(root, signature);
    add_patch(root, signature->patch);
    add_strings(root, "closes_with", signature->closes_with);
    add_text(root, "provenance", signature->provenance);
    json_add(root, "runs", json_new_u64(signature->runs));
    json_add(root, "rows", json_new_u64(signature->rows));
    add_features(root, signature);
    add_patterns(root, signature);
    return root;
}

static void put_compact(FILE *out, const struct json *node) {
    _cleanup_free_ char *text = json_print(node, NULL);

    fputs(text, out);
}

char *signature_print(const struct signature *signature, size_t *ret_size) {
    _cleanup_json_ struct json *root = to_json(signature);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    for (const struct json *child = root->first; child; child = child->next) {
        fprintf(out, "%s  \"%s\": ", child == root->first ? "{\n" : ",\n", child->key);
        if (child->type != JSON_ARRAY || child->first->type != JSON_OBJECT) {
            put_compact(out, child);
            continue;
        }
        for (const struct json *item = child->first; item; item = item->next) {
            fputs(item == child->first ? "[\n    " : ",\n    ", out);
            put_compact(out, item);
        }
        fputs("\n  ]", out);
    }
    fputs("\n}\n", out);
    if (fclose(out) != 0)
        abort();
    if (ret_size)
        *ret_size = size;
    return text;
}
