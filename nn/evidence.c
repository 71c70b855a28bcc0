/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/evidence.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* Below these the whole path is looked at, elsewhere its directory. */
static const char *const sensitive[] = {
    "/etc/",  "/proc/",        "/sys/",         "/root/",
    "/home/", "/dev/",         "/run/secrets/", "/var/run/secrets/",
    "/boot/", "/var/lib/dpkg/"};

/* Files (or, ending in "/", what is below a directory) that hold accounts, keys and tokens. */
static const char *const secrets[] = {"/etc/passwd",        "/etc/shadow",         "/etc/gshadow",
                                      "/etc/group",         "/etc/sudoers",        "/root/.ssh/",
                                      "/etc/ssh/",          "/etc/ssl/private/",   "/run/secrets/",
                                      "/var/run/secrets/",  "/root/.bash_history", "/etc/crontab",
                                      "/proc/self/environ", "/proc/1/environ"};

/* Where software lies, below the root and anywhere in a path. */
static const char *const software_roots[] = {"/usr/", "/lib/", "/lib64/"};
static const char *const software_parts[] = {"/node_modules/", "/dist-packages/",
                                             "/site-packages/"};

const char *evidence_feature_name(enum evidence_feature feature) {
    static const char *const names[EVIDENCE_FEATURES] = {
        [EVIDENCE_EXEC_UNSEEN] = "exec.unseen",
        [EVIDENCE_EXEC_CALLER] = "exec.caller",
        [EVIDENCE_OPEN_UNSEEN] = "open.unseen",
        [EVIDENCE_OPEN_SOFTWARE] = "open.software",
        [EVIDENCE_OPEN_SENSITIVE] = "open.sensitive",
        [EVIDENCE_OPEN_SECRET] = "open.secret",
        [EVIDENCE_WRITE_UNSEEN] = "write.unseen",
        [EVIDENCE_STATE_UNSEEN] = "state.unseen",
        [EVIDENCE_WRITE_SENSITIVE] = "write.sensitive",
        [EVIDENCE_CONNECT_UNSEEN] = "connect.unseen",
        [EVIDENCE_CONNECT_ADDRESS] = "connect.address",
    };

    return names[feature];
}

bool evidence_explains(enum evidence_feature feature) {
    return feature == EVIDENCE_OPEN_SOFTWARE || feature == EVIDENCE_STATE_UNSEEN;
}

/* Endings of what an interpreter, a server or a loader runs. */
static const char *const code_endings[] = {".php", ".phtml", ".jsp", ".jspx", ".war", ".jar", ".class", ".py",
                                           ".pl",  ".rb",    ".js",  ".mjs",  ".sh",  ".cgi", ".so"};

/* A word that names one thing of many: four or more hexadecimal digits with a decimal one among
 * them, or six or more letters and digits mixed. */
static bool is_identifier(const char *word, size_t size) {
    size_t digits = 0, hexadecimal = 0;

    for (size_t i = 0; i < size; i++) {
        digits += isdigit((unsigned char)word[i]) != 0;
        hexadecimal += isxdigit((unsigned char)word[i]) != 0;
    }
    return digits > 0 && ((size >= 4 && hexadecimal == size) || (size >= 6 && digits >= 2));
}

/* The word with its numbers replaced; returns the bytes written, at most size - 1. */
static size_t replace_numbers(const char *word, size_t word_size, char *ret_text, size_t size) {
    size_t out = 0;

    for (size_t i = 0; i < word_size && out + 1 < size; i++) {
        bool digit = isdigit((unsigned char)word[i]);

        if (!digit || i == 0 || !isdigit((unsigned char)word[i - 1]))
            ret_text[out++] = digit ? '#' : word[i];
    }
    return out;
}

void evidence_normalise(const char *text, char *ret_text, size_t size) {
    size_t out = 0;

    while (*text && out + 1 < size) {
        size_t word = 0;

        while (isalnum((unsigned char)text[word]))
            word++;
        if (word == 0) {
            ret_text[out++] = *text++;
        } else if (is_identifier(text, word)) {
            ret_text[out++] = '#';
            text += word;
        } else {
            out += replace_numbers(text, word, ret_text + out, size - out);
            text += word;
        }
    }
    ret_text[out] = '\0';
}

#define TREE_DEPTH 8 /* directories above one that are looked at, from the root on */

static uint64_t hash_text(enum evidence_feature feature, const char *a, size_t a_size,
                          const char *b) {
    const unsigned char head = (unsigned char)feature;
    uint64_t hash = io_hash(IO_HASH_START, &head, 1);

    hash = io_hash(hash, a, a_size);
    return b ? io_hash(io_hash(hash, "", 1), b, strlen(b)) : hash;
}

static bool is_sensitive(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(sensitive); i++)
        if (strncmp(path, sensitive[i], strlen(sensitive[i])) == 0)
            return true;
    return false;
}

static bool is_secret(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
        size_t size = strlen(secrets[i]);

        if (secrets[i][size - 1] == '/' ? strncmp(path, secrets[i], size) == 0
                                        : strcmp(path, secrets[i]) == 0)
            return true;
    }
    return false;
}

static bool is_software(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(software_roots); i++)
        if (strncmp(path, software_roots[i], strlen(software_roots[i])) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(software_parts); i++)
        if (strstr(path, software_parts[i]))
            return true;
    return false;
}

static bool may_be_run(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(code_endings); i++)
        if (io_ends_with(path, code_endings[i]))
            return true;
    return is_software(path);
}

/* Hash of the directory that holds the directory of this size; 0 for the root and what lies in it:
 * there every subdirectory is a matter of its own. */
static uint64_t parent_key(enum evidence_feature feature, const char *path, size_t size) {
    const char *slash = memrchr(path, '/', size);
    size_t parent = slash ? (size_t)(slash - path) : 0;

    return parent > 0 && (path[0] != '/' || memchr(path + 1, '/', parent - 1))
               ? hash_text(feature, path, parent, "*")
               : 0;
}

/* The directory, and the whole path where it is sensitive. */
static size_t path_keys(const char *path, enum evidence_feature directory,
                        enum evidence_feature whole, struct evidence_key ret_keys[2]) {
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0, n = 0;

    ret_keys[n++] = (struct evidence_key){.key = hash_text(directory, path, size, NULL),
                                          .parent = parent_key(directory, path, size),
                                          .feature = directory};
    if (is_sensitive(path))
        ret_keys[n++] = (struct evidence_key){.key = hash_text(whole, path, strlen(path), NULL),
                                              .feature = whole};
    return n;
}

/* Keys of the directories above that of a path that may be the top of a service's data, the working
 * directory of a relative one among them; returns how many. */
static size_t tree_keys(const char *path, uint64_t ret_keys[TREE_DEPTH]) {
    const char *end = strrchr(path, '/');
    size_t n = 0;

    if (!end || strstr(path, ".."))
        return 0;
    if (path[0] != '/')
        ret_keys[n++] = hash_text(EVIDENCE_STATE_UNSEEN, path, 0, NULL);
    for (const char *p = path + 1; p < end && n < TREE_DEPTH; p++)
        if (*p == '/' && (path[0] != '/' || memchr(path + 1, '/', (size_t)(p - path - 1))))
            ret_keys[n++] = hash_text(EVIDENCE_STATE_UNSEEN, path, (size_t)(p - path), NULL);
    return n;
}

/* "family:address:port"; an address may have colons, a "unix:path" has no port. */
static size_t connect_keys(const char *what, struct evidence_key ret_keys[2]) {
    const char *family = strchr(what, ':'), *port = strrchr(what, ':');
    size_t family_size = family ? (size_t)(family - what) : strlen(what);
    size_t n = 0;

    if (family && port > family) {
        ret_keys[n++] = (struct evidence_key){
            .key = hash_text(EVIDENCE_CONNECT_UNSEEN, what, family_size, port),
            .feature = EVIDENCE_CONNECT_UNSEEN};
        ret_keys[n++] = (struct evidence_key){
            .key = hash_text(EVIDENCE_CONNECT_ADDRESS, what, (size_t)(port - what), NULL),
            .feature = EVIDENCE_CONNECT_ADDRESS};
    } else {
        char text[sizeof(((struct evidence *)0)->what)];

        evidence_normalise(what, text, sizeof(text));
        ret_keys[n++] = (struct evidence_key){
            .key = hash_text(EVIDENCE_CONNECT_UNSEEN, text, strlen(text), NULL),
            .feature = EVIDENCE_CONNECT_UNSEEN};
    }
    return n;
}

/* A program that starts itself once more, as mail servers do, is no other caller. */
static bool is_itself(const char *comm, const char *path) {
    const char *slash = strrchr(path, '/');

    return strcmp(slash ? slash + 1 : path, comm) == 0;
}

size_t evidence_keys(const struct evidence *evidence, struct evidence_key ret_keys[2]) {
    char path[sizeof(evidence->what)], comm[sizeof(evidence->comm)];

    switch (evidence->kind) {
    case EVIDENCE_CONNECT:
        return connect_keys(evidence->what, ret_keys);
    case EVIDENCE_OPEN:
        evidence_normalise(evidence->what, path, sizeof(path));
        return path_keys(path, is_software(evidence->what) ? EVIDENCE_OPEN_SOFTWARE : EVIDENCE_OPEN_UNSEEN,
                         is_secret(evidence->what) ? EVIDENCE_OPEN_SECRET : EVIDENCE_OPEN_SENSITIVE,
                         ret_keys);
    case EVIDENCE_WRITE:
        evidence_normalise(evidence->what, path, sizeof(path));
        return path_keys(path, EVIDENCE_WRITE_UNSEEN, EVIDENCE_WRITE_SENSITIVE, ret_keys);
    case EVIDENCE_EXEC:
        evidence_normalise(evidence->what, path, sizeof(path));
        evidence_normalise(evidence->comm, comm, sizeof(comm));
        ret_keys[0] =
            (struct evidence_key){.key = hash_text(EVIDENCE_EXEC_UNSEEN, path, strlen(path), NULL),
                                  .feature = EVIDENCE_EXEC_UNSEEN};
        if (is_itself(comm, path))
            return 1;
        ret_keys[1] =
            (struct evidence_key){.key = hash_text(EVIDENCE_EXEC_CALLER, path, strlen(path), comm),
                                  .feature = EVIDENCE_EXEC_CALLER};
        return 2;
    default:
        return 0;
    }
}

/* Position of key, or of the first greater one. */
static size_t find(const struct evidence_set *set, uint64_t key) {
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (set->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has(const struct evidence_set *set, size_t at, uint64_t key) {
    return at < set->n && set->keys[at] == key;
}

/* The position of key, which is put into the set if it is not there; false when that is full. */
static bool place(struct evidence_set *set, uint64_t key, size_t *ret_at) {
    size_t at = *ret_at = find(set, key);

    if (has(set, at, key))
        return true;
    if (set->n == EVIDENCE_MAX_KEYS)
        return false;
    if (!set->keys) {
        set->keys = io_alloc(EVIDENCE_MAX_KEYS, sizeof(*set->keys));
        set->phases = io_alloc(EVIDENCE_MAX_KEYS, sizeof(*set->phases));
        set->children = io_alloc(EVIDENCE_MAX_KEYS, sizeof(*set->children));
    }
    memmove(set->keys + at + 1, set->keys + at, (set->n - at) * sizeof(*set->keys));
    memmove(set->phases + at + 1, set->phases + at, set->n - at);
    memmove(set->children + at + 1, set->children + at, set->n - at);
    set->keys[at] = key;
    set->phases[at] = set->children[at] = 0;
    set->n++;
    return true;
}

static void add_child(struct evidence_set *set, uint64_t parent) {
    size_t at;

    if (place(set, parent, &at) && set->children[at] < EVIDENCE_OPEN_ENDED)
        set->children[at]++;
}

/* Returns what phases the key was seen in before. */
static uint8_t add(struct evidence_set *set, const struct evidence_key *key, uint8_t phase) {
    uint8_t before;
    size_t at;

    if (!place(set, key->key, &at))
        return (uint8_t)~0;
    before = set->phases[at];
    set->phases[at] |= phase;
    if (before == 0 && key->parent != 0)
        add_child(set, key->parent);
    return before;
}

static void add_tree(struct evidence_set *set, const struct evidence *evidence) {
    char path[sizeof(evidence->what)];
    uint64_t trees[TREE_DEPTH];

    evidence_normalise(evidence->what, path, sizeof(path));
    for (size_t t = tree_keys(path, trees); t-- > 0;)
        add_child(set, trees[t]);
}

void evidence_learn(struct evidence_set *set, const struct evidence *items, size_t n,
                    uint8_t phase) {
    for (size_t i = 0; i < n; i++) {
        struct evidence_key keys[2];

        for (size_t k = evidence_keys(&items[i], keys); k-- > 0;) {
            bool first = !(add(set, &keys[k], phase) & EVIDENCE_STEADY);

            if (first && (phase & EVIDENCE_STEADY) && keys[k].feature == EVIDENCE_WRITE_UNSEEN)
                add_tree(set, &items[i]);
        }
    }
}

static bool is_seen(const struct evidence_set *set, const struct evidence_key *key,
                    uint8_t phases) {
    size_t at = find(set, key->key);

    if (has(set, at, key->key) && (set->phases[at] & phases))
        return true;
    at = find(set, key->parent);
    return key->parent != 0 && has(set, at, key->parent) &&
           set->children[at] == EVIDENCE_OPEN_ENDED;
}

bool evidence_is_state(const struct evidence_set *set, const struct evidence *evidence) {
    char path[sizeof(evidence->what)];
    struct evidence_key keys[2];
    uint64_t trees[TREE_DEPTH];
    size_t at;

    if ((evidence->kind != EVIDENCE_OPEN && evidence->kind != EVIDENCE_WRITE) || may_be_run(evidence->what))
        return false;
    evidence_normalise(evidence->what, path, sizeof(path));
    if (evidence->kind == EVIDENCE_WRITE && !strstr(path, "..") && evidence_keys(evidence, keys) > 0 &&
        is_seen(set, &keys[0], EVIDENCE_STARTUP))
        return true;
    for (size_t t = tree_keys(path, trees); t-- > 0;) {
        at = find(set, trees[t]);
        if (has(set, at, trees[t]) && set->children[at] >= EVIDENCE_STATE_TREE)
            return true;
    }
    return false;
}

static bool is_known(const struct evidence_set *set, const struct evidence *evidence, uint8_t phases) {
    struct evidence_key keys[2];

    for (size_t k = evidence_keys(evidence, keys); k-- > 0;)
        if (!evidence->missing && !is_seen(set, &keys[k], phases))
            return false;
    return true;
}

/* One over the network has two keys. */
static bool is_reconnect(const struct evidence_set *set, const struct evidence *evidence, uint8_t phases) {
    struct evidence_key keys[2];

    return evidence->kind == EVIDENCE_CONNECT && evidence_keys(evidence, keys) == 2 &&
           is_known(set, evidence, phases | EVIDENCE_STARTUP) && !is_known(set, evidence, phases);
}

bool evidence_knows(const struct evidence_set *set, const struct evidence *evidence,
                    uint8_t phases) {
    return is_known(set, evidence, phases) || is_reconnect(set, evidence, phases);
}

bool evidence_reconnects(const struct evidence_set *set, const struct evidence *items, size_t n,
                         uint8_t phases) {
    for (size_t i = 0; i < n; i++)
        if (is_reconnect(set, &items[i], phases))
            return true;
    return false;
}

bool evidence_executed(const struct evidence_set *set, const struct evidence *items, size_t n,
                       uint8_t phases) {
    for (size_t i = 0; i < n; i++)
        if (items[i].kind == EVIDENCE_EXEC && evidence_knows(set, &items[i], phases))
            return true;
    return false;
}

/* Whether key is a further one of the n in list; it is put there. */
static bool is_another(uint64_t list[EVIDENCE_MOST_UNSEEN], size_t *n, uint64_t key) {
    for (size_t i = 0; i < *n; i++)
        if (list[i] == key)
            return false;
    if (*n == EVIDENCE_MOST_UNSEEN)
        return false;
    list[(*n)++] = key;
    return true;
}

void evidence_count(const struct evidence_set *set, const struct evidence *items, size_t n,
                    uint8_t phases, float counts[EVIDENCE_FEATURES]) {
    uint64_t unseen[EVIDENCE_FEATURES][EVIDENCE_MOST_UNSEEN];
    size_t n_unseen[EVIDENCE_FEATURES] = {0};
    const uint8_t as_start = evidence_reconnects(set, items, n, phases) ? phases | EVIDENCE_STARTUP : phases;

    for (size_t i = 0; i < n; i++) {
        struct evidence_key keys[2];

        if (is_reconnect(set, &items[i], phases))
            continue;
        for (size_t k = evidence_keys(&items[i], keys); k-- > 0;) {
            enum evidence_feature feature = keys[k].feature;
            bool looks_up = items[i].kind == EVIDENCE_OPEN && feature != EVIDENCE_OPEN_SECRET;

            if (is_seen(set, &keys[k], looks_up ? as_start : phases) ||
                (items[i].missing && feature != EVIDENCE_OPEN_SOFTWARE))
                continue;
            if ((feature == EVIDENCE_OPEN_UNSEEN || feature == EVIDENCE_WRITE_UNSEEN) &&
                evidence_is_state(set, &items[i]))
                feature = EVIDENCE_STATE_UNSEEN;
            counts[feature] += is_another(unseen[feature], &n_unseen[feature], keys[k].key);
        }
    }
}

void evidence_set_free(struct evidence_set *set) {
    free(set->keys);
    free(set->phases);
    free(set->children);
    memset(set, 0, sizeof(*set));
}
