/* SPDX-License-Identifier: Apache-2.0 */
/* From JSON to a signature: every key known, every value checked. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/pydists.h"
#include "signatures/match.h"
#include "signatures/purl.h"
#include "signatures/signature.h"

#define FORMAT_TEXT_MAX 1024 /* bytes of any one string */

static const char *const keys_of_file[] = {
    SIGNATURE_MARK, "id",   "aliases", "application", "affected",   "patch",    "closes_with",
    "provenance",   "runs", "rows",    "features",    "unmeasured", "evidence", NULL};
static const char *const keys_of_affected[] = {"purl", "introduced", "fixed", NULL};
static const char *const keys_of_patch[] = {"manager", "package", "fixed", "pickup",
                                            "reload",  "prepare", "health", NULL};
static const char *const keys_of_feature[] = {"name", "presence", "weight", NULL};
static const char *const keys_of_pattern[] = {"kind", "comm", "what", NULL};

/* A string of an object. Absent is 0 with *ret_text NULL unless required. */
static int read_text(const struct json *object, const char *key, bool required, char **ret_text,
                     struct err *err) {
    const struct json *node = json_get(object, key);
    const char *text = json_string(node);

    if (!node)
        return required ? err_set(err, EINVAL, "\"%s\" is missing", key) : 0;
    if (!text || !*text || strlen(text) > FORMAT_TEXT_MAX)
        return err_set(err, EINVAL, "\"%s\" is not a string of 1 to %d bytes", key,
                       FORMAT_TEXT_MAX);
    *ret_text = io_strdup(text);
    return 0;
}

/* An array of at most SIGNATURE_MAX_ITEMS; absent is 0 with *ret_size 0. */
static int read_array(const struct json *object, const char *key, const struct json **ret_array,
                      size_t *ret_size, struct err *err) {
    const struct json *node = json_get(object, key);
    size_t size = 0;

    *ret_array = node;
    *ret_size = 0;
    if (!node)
        return 0;
    if (node->type != JSON_ARRAY)
        return err_set(err, EINVAL, "\"%s\" is not an array", key);
    for (const struct json *item = node->first; item; item = item->next)
        size++;
    if (size > SIGNATURE_MAX_ITEMS)
        return err_set(err, E2BIG, "\"%s\" has more than %d entries", key, SIGNATURE_MAX_ITEMS);
    *ret_size = size;
    return 0;
}

static int read_strings(const struct json *object, const char *key, char ***ret_strings,
                        struct err *err) {
    const struct json *array;
    size_t n;
    int r = read_array(object, key, &array, &n, err);

    if (r < 0 || n == 0)
        return r;
    for (const struct json *item = array->first; item; item = item->next) {
        const char *text = json_string(item);

        if (!text || !*text || strlen(text) > FORMAT_TEXT_MAX)
            return err_set(err, EINVAL, "\"%s\" holds something that is not a string", key);
        strings_add(ret_strings, text);
    }
    return 0;
}

static int check_id(const char *id, struct err *err) {
    size_t size = strlen(id);

    if (size >= SIGNATURE_ID_MAX || !isalpha((unsigned char)id[0]) || strcmp(id, MATCH_UNKNOWN) == 0)
        return err_set(err, EINVAL, "\"id\" is not like CVE-2024-23334");
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)id[i]) && id[i] != '-')
            return err_set(err, EINVAL, "\"id\" is not like CVE-2024-23334");
    return 0;
}

/* Within the bounds, rounded to what a float holds. */
static int read_float(const struct json *node, const char *key, double low, double high,
                      float *ret_value, struct err *err) {
    double value;

    if (json_double(node, &value) < 0 || value < low || value > high)
        return err_set(err, EINVAL, "\"%s\" is not a number from %g to %g", key, low, high);
    *ret_value = (float)value;
    return 0;
}

static int read_name(const struct json *node, struct signature_feature *ret_feature,
                     struct err *err) {
    const char *name = json_string(node);

    if (!name || !*name || strlen(name) >= FEATURE_NAME_MAX)
        return err_set(err, EINVAL, "a feature's name is not a string of 1 to %d bytes",
                       FEATURE_NAME_MAX - 1);
    memcpy(ret_feature->name, name, strlen(name) + 1);
    return 0;
}

static int read_feature(const struct json *node, struct signature_feature *ret_feature,
                        struct err *err) {
    const struct json *presence = json_get(node, "presence"), *weight = json_get(node, "weight");
    int r = json_check_keys(node, keys_of_feature, err);

    if (r == 0)
        r = read_name(json_get(node, "name"), ret_feature, err);
    if (r == 0 && presence)
        r = read_float(presence, "presence", 0, 1, &ret_feature->presence, err);
    if (r == 0 && weight)
        r = read_float(weight, "weight", -1e6, 1e6, &ret_feature->weight, err);
    return r;
}

static int compare_features(const void *a, const void *b) {
    const struct signature_feature *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int sort_features(struct signature *signature, struct err *err) {
    struct signature_feature *list = signature->features;

    if (signature->n_features == 0)
        return 0;
    qsort(list, signature->n_features, sizeof(*list), compare_features);
    for (size_t i = 1; i < signature->n_features; i++)
        if (compare_features(&list[i - 1], &list[i]) == 0)
            return err_set(err, EINVAL, "feature \"%s\" is repeated", list[i].name);
    return 0;
}

static int read_features(const struct json *root, struct signature *signature, struct err *err) {
    const struct json *features, *unmeasured;
    size_t n, n_unmeasured;
    int r = read_array(root, "features", &features, &n, err);

    if (r == 0)
        r = read_array(root, "unmeasured", &unmeasured, &n_unmeasured, err);
    if (r < 0)
        return r;
    signature->features = io_alloc(n + n_unmeasured, sizeof(*signature->features));
    for (const struct json *item = n ? features->first : NULL; item; item = item->next) {
        r = read_feature(item, &signature->features[signature->n_features++], err);
        if (r < 0)
            return err_prefix(err, r, "features[%zu]", signature->n_features - 1);
    }
    for (const struct json *item = n_unmeasured ? unmeasured->first : NULL; item;
         item = item->next) {
        struct signature_feature *feature = &signature->features[signature->n_features++];

        r = read_name(item, feature, err);
        if (r < 0)
            return err_prefix(err, r, "unmeasured");
        feature->presence = NAN;
    }
    return sort_features(signature, err);
}

static int read_pattern(const struct json *node, struct signature_pattern *ret_pattern,
                        struct err *err) {
    const char *kind = json_get_string(node, "kind");
    int k = 0, r = json_check_keys(node, keys_of_pattern, err);

    if (r < 0)
        return r;
    while (k < EVIDENCE_KINDS && (!kind || strcmp(kind, evidence_kind_name(k)) != 0))
        k++;
    if (k == EVIDENCE_KINDS)
        return err_set(err, EINVAL, "\"kind\" is none of exec, open, connect, write");
    ret_pattern->kind = k;
    r = read_text(node, "comm", true, &ret_pattern->comm, err);
    return r < 0 ? r : read_text(node, "what", true, &ret_pattern->what, err);
}

static int read_patterns(const struct json *root, struct signature *signature, struct err *err) {
    const struct json *array;
    size_t n;
    int r = read_array(root, "evidence", &array, &n, err);

    if (r < 0 || n == 0)
        return r;
    signature->patterns = io_alloc(n, sizeof(*signature->patterns));
    for (const struct json *item = array->first; item; item = item->next) {
        r = read_pattern(item, &signature->patterns[signature->n_patterns++], err);
        if (r < 0)
            return err_prefix(err, r, "evidence[%zu]", signature->n_patterns - 1);
    }
    return 0;
}

/* A version by its manager's characters; absent is 0. */
static int read_version(const struct json *node, const char *key, bool required, char **ret_version,
                        struct err *err) {
    int r = read_text(node, key, required, ret_version, err);

    if (r == 0 && *ret_version)
        r = package_version_check(*ret_version, err);
    return r < 0 ? err_prefix(err, r, "\"%s\"", key) : 0;
}

static int read_one_affected(const struct json *node, struct signature_affected *affected,
                             struct err *err) {
    int r = json_check_keys(node, keys_of_affected, err);

    if (r == 0)
        r = read_text(node, "purl", true, &affected->purl, err);
    if (r == 0)
        r = purl_parse(affected->purl, &affected->manager, &affected->package, err);
    if (r == 0)
        r = read_version(node, "introduced", true, &affected->introduced, err);
    return r < 0 ? r : read_version(node, "fixed", false, &affected->fixed, err);
}

static int read_affected(const struct json *root, struct signature *signature, struct err *err) {
    const struct json *array;
    size_t n;
    int r = read_array(root, "affected", &array, &n, err);

    if (r < 0 || n == 0)
        return r;
    signature->affected = io_alloc(n, sizeof(*signature->affected));
    for (const struct json *item = array->first; item; item = item->next) {
        r = read_one_affected(item, &signature->affected[signature->n_affected++], err);
        if (r < 0)
            return err_prefix(err, r, "affected[%zu]", signature->n_affected - 1);
    }
    return 0;
}

static int read_pickup(const struct json *node, struct signature_patch *patch, struct err *err) {
    const char *word = json_get_string(node, "pickup");
    int p = 0, r;

    while (p < SIGNATURE_PICKUPS && (!word || strcmp(word, signature_pickup_name(p)) != 0))
        p++;
    if (p == SIGNATURE_PICKUPS)
        return err_set(err, EINVAL, "\"pickup\" is none of restart, reload, none");
    patch->pickup = p;
    r = read_strings(node, "reload", &patch->reload, err);
    if (r < 0)
        return r;
    if ((patch->pickup == PICKUP_RELOAD) != (patch->reload != NULL))
        return err_set(err, EINVAL,
                       "\"reload\" goes with \"pickup\": \"reload\", and only with it");
    r = read_strings(node, "prepare", &patch->prepare, err);
    return r < 0 ? r : read_strings(node, "health", &patch->health, err);
}

static int read_patch(const struct json *root, struct signature *signature, struct err *err) {
    const struct json *node = json_get(root, "patch");
    struct signature_patch *patch;
    int manager, r;

    if (!node)
        return 0;
    r = json_check_keys(node, keys_of_patch, err);
    if (r < 0)
        return r;
    patch = signature->patch = io_alloc(1, sizeof(*patch));
    manager = package_manager_from_name(json_get_string(node, "manager"));
    if (manager < 0)
        return err_set(err, EINVAL, "\"manager\" is none of apt, npm, pip, rpm, files");
    patch->manager = manager;
    r = read_text(node, "package", true, &patch->package, err);
    if (r == 0)
        r = package_name_check(patch->package, err);
    if (r == 0 && patch->manager == MANAGER_PIP)
        pydist_normalise(patch->package);
    if (r == 0)
        r = read_version(node, "fixed", true, &patch->fixed, err);
    return r < 0 ? r : read_pickup(node, patch, err);
}

static int read_count(const struct json *root, const char *key, uint64_t *ret_count,
                      struct err *err) {
    const struct json *node = json_get(root, key);

    if (!node || json_u64(node, ret_count) == 0)
        return 0;
    return err_set(err, EINVAL, "\"%s\" is not a whole number", key);
}

static int read_header(const struct json *root, struct signature *signature, struct err *err) {
    uint64_t version;
    int r = json_check_keys(root, keys_of_file, err);

    if (r < 0)
        return r;
    if (json_u64(json_get(root, SIGNATURE_MARK), &version) < 0 || version != SIGNATURE_VERSION)
        return err_set(err, EINVAL, "\"%s\" is not %d: no signature of this format", SIGNATURE_MARK,
                       SIGNATURE_VERSION);
    r = read_text(root, "id", true, &signature->id, err);
    if (r == 0)
        r = check_id(signature->id, err);
    if (r == 0)
        r = read_strings(root, "aliases", &signature->aliases, err);
    if (r == 0)
        r = read_text(root, "application", false, &signature->application, err);
    if (r == 0)
        r = read_strings(root, "closes_with", &signature->closes_with, err);
    if (r == 0)
        r = read_text(root, "provenance", false, &signature->provenance, err);
    if (r == 0)
        r = read_count(root, "runs", &signature->runs, err);
    return r < 0 ? r : read_count(root, "rows", &signature->rows, err);
}

static bool has_measured(const struct signature *signature) {
    for (size_t i = 0; i < signature->n_features; i++)
        if (!isnan(signature->features[i].presence))
            return true;
    return false;
}

static int read_root(const struct json *root, enum signature_completeness completeness,
                     struct signature *signature, struct err *err) {
    int r = read_header(root, signature, err);

    if (r == 0)
        r = read_affected(root, signature, err);
    if (r < 0)
        return r;
    r = read_patch(root, signature, err);
    if (r < 0)
        return err_prefix(err, r, "patch");
    r = read_features(root, signature, err);
    if (r == 0)
        r = read_patterns(root, signature, err);
    if (r < 0)
        return r;
    if (completeness == SIGNATURE_META && (signature->n_features || signature->n_patterns))
        return err_set(err, EINVAL, "\"features\" and \"evidence\" are made, not given");
    if (completeness == SIGNATURE_WHOLE && !has_measured(signature) && !signature->n_patterns)
        return err_set(err, EINVAL, "neither \"features\" nor \"evidence\" to match by");
    return 0;
}

int signature_parse(const char *text, size_t size, const char *name,
                    enum signature_completeness completeness, struct signature **ret_signature,
                    struct err *err) {
    _cleanup_signature_ struct signature *signature = io_alloc(1, sizeof(*signature));
    _cleanup_json_ struct json *root = NULL;
    int r;

    if (size > SIGNATURE_MAX_SIZE)
        return err_set(err, EFBIG, "%s: larger than %u bytes", name, SIGNATURE_MAX_SIZE);
    r = json_parse(text, size, JSON_STRICT, &root, err);
    if (r == 0)
        r = read_root(root, completeness, signature, err);
    if (r < 0)
        return err_prefix(err, r, "%s", name);
    *ret_signature = take_ptr(signature);
    return 0;
}

int signature_read(int dirfd, const char *path, enum signature_completeness completeness,
                   struct signature **ret_signature, struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = io_read_file(dirfd, path, SIGNATURE_MAX_SIZE, &text, &size, err);

    return r < 0 ? r : signature_parse(text, size, path, completeness, ret_signature, err);
}
