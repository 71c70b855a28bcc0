/* SPDX-License-Identifier: Apache-2.0 */
/* The file form of a model: "OPATCHNN", version, size of the rest, checksum of the rest (io_hash),
 * then the fields of struct model in their order. Integers are little-endian, numbers IEEE 754. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/internal.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are written as they lie in memory"
#endif

static const char magic[8] = "OPATCHNN";
#define VERSION 8
_Static_assert(sizeof(magic) + 4 == MODEL_HEAD, "the head ends with the version");
#define HEADER (sizeof(magic) + 4 + 4 + 8)
#define MAX_HIDDEN 256

/* Writing: grows by doubling. */
struct writer {
    char *data;
    size_t size, room;
};

static void write_bytes(struct writer *w, const void *data, size_t size) {
    if (w->size + size > w->room) {
        w->room = (w->size + size) * 2;
        w->data = realloc(w->data, w->room);
        if (!w->data)
            abort();
    }
    if (size > 0)
        memcpy(w->data + w->size, data, size);
    w->size += size;
}

static void write_u32(struct writer *w, uint32_t value) {
    write_bytes(w, &value, sizeof(value));
}

static void write_floats(struct writer *w, const float *values, size_t n) {
    write_bytes(w, values, n * sizeof(*values));
}

static void write_tail(struct writer *w, const struct tail *tail) {
    write_floats(w, &tail->level, 1);
    write_floats(w, &tail->scale, 1);
}

static size_t factor_size(size_t n) {
    return n * (n + 1) / 2;
}

static void write_ellipsoid(struct writer *w, const struct channel *c, unsigned expectation) {
    write_floats(w, c->residuals[expectation].centre, c->n);
    write_floats(w, c->residuals[expectation].factor, factor_size(c->n));
}

static void write_channel(struct writer *w, const struct channel *c) {
    write_u32(w, c->net.weights ? c->net.hidden : 0);
    write_floats(w, c->mean, c->n);
    write_floats(w, c->spread, c->n);
    write_ellipsoid(w, c, EXPECT_MEAN);
    if (c->net.weights) {
        write_floats(w, c->net.weights, net_weights(c->n, c->net.hidden));
        write_ellipsoid(w, c, EXPECT_NET);
    }
    write_u32(w, c->level.n);
    write_floats(w, c->level.middle, LEVEL_BINS);
    write_floats(w, c->level.usual, LEVEL_BINS);
    write_tail(w, &c->tail);
    write_tail(w, &c->lasting);
}

static void write_body(struct writer *w, const struct model *m) {
    write_bytes(w, &m->rate, sizeof(m->rate));
    write_u32(w, m->rows);
    write_u32(w, m->columns);
    write_bytes(w, m->names, m->columns * sizeof(*m->names));
    write_bytes(w, m->phases, m->columns);
    write_floats(w, m->normal, m->columns);
    for (size_t g = 0; g < GROUPS; g++) {
        write_u32(w, m->groups[g].n);
        write_bytes(w, m->groups[g].columns, m->groups[g].n * sizeof(uint16_t));
    }
    for (size_t g = 0; g < GROUPS; g++)
        if (m->groups[g].n > 0)
            write_channel(w, &m->channels[g]);
    for (size_t i = 0; i < RESOURCES; i++) {
        write_tail(w, &m->resources[i].use);
        write_tail(w, &m->resources[i].lasting);
    }
    write_tail(w, &m->novelty);
    write_u32(w, m->silence);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++) {
        write_u32(w, m->unseen[f].episodes);
        write_u32(w, m->unseen[f].most);
    }
    write_u32(w, (uint32_t)m->evidence.n);
    write_bytes(w, m->evidence.keys, m->evidence.n * sizeof(uint64_t));
    write_bytes(w, m->evidence.phases, m->evidence.n);
    write_bytes(w, m->evidence.children, m->evidence.n);
}

void model_serialise(const struct model *model, char **ret_data, size_t *ret_size) {
    struct writer w = {0};
    uint32_t size;
    uint64_t sum;

    write_bytes(&w, magic, sizeof(magic));
    write_u32(&w, VERSION);
    write_bytes(&w, (char[12]){0}, 12);
    write_body(&w, model);
    size = (uint32_t)(w.size - HEADER);
    sum = io_hash(IO_HASH_START, w.data + HEADER, size);
    memcpy(w.data + sizeof(magic) + 4, &size, sizeof(size));
    memcpy(w.data + sizeof(magic) + 8, &sum, sizeof(sum));
    *ret_data = w.data;
    *ret_size = w.size;
}

/* Reading. After the first failure nothing is read any more and every value is 0. */
struct parser {
    const char *data, *name;
    size_t at, size;
    struct err *err;
    int error;
};

static void fail(struct parser *p, const char *reason) {
    if (p->error == 0)
        p->error =
            err_set(p->err, EBADMSG, "%s: damaged model, byte %zu: %s", p->name, p->at, reason);
}

static void read_bytes(struct parser *p, void *ret_data, size_t size) {
    memset(ret_data, 0, size);
    if (size > p->size - p->at)
        fail(p, "cut off");
    if (p->error < 0)
        return;
    memcpy(ret_data, p->data + p->at, size);
    p->at += size;
}

/* An allocation for count items that the rest of the data can hold; NULL after a failure. */
static void *read_array(struct parser *p, size_t count, size_t size) {
    void *array;

    if (p->error == 0 && count * size > p->size - p->at)
        fail(p, "cut off");
    if (p->error < 0)
        return NULL;
    array = io_alloc(count + 1, size);
    read_bytes(p, array, count * size);
    return array;
}

static uint32_t read_u32(struct parser *p, uint32_t least, uint32_t most, const char *reason) {
    uint32_t value;

    read_bytes(p, &value, sizeof(value));
    if (p->error == 0 && (value < least || value > most))
        fail(p, reason);
    return p->error < 0 ? 0 : value;
}

static float *read_floats(struct parser *p, size_t n, float least, const char *reason) {
    float *values = read_array(p, n, sizeof(*values));

    for (size_t i = 0; values && i < n; i++)
        if (!isfinite(values[i]) || values[i] < least)
            fail(p, reason);
    return values;
}

static float read_float(struct parser *p, float least, const char *reason) {
    float value;

    read_bytes(p, &value, sizeof(value));
    if (p->error == 0 && (!isfinite(value) || value < least))
        fail(p, reason);
    return value;
}

static void read_tail(struct parser *p, struct tail *tail) {
    tail->level = read_float(p, -1e6f, "level of a tail");
    tail->scale = read_float(p, 1e-6f, "scale of a tail");
}

static void read_ellipsoid(struct parser *p, uint32_t n, struct ellipsoid *e) {
    e->centre = read_floats(p, n, -INFINITY, "a centre that is no number");
    e->factor = read_floats(p, factor_size(n), -INFINITY, "a factor that is no number");
    for (size_t i = 0; e->factor && i < n; i++)
        if (e->factor[factor_size(i + 1) - 1] < 1e-9f)
            fail(p, "a factor without a positive diagonal");
}

static void read_level(struct parser *p, struct level *level) {
    level->n = read_u32(p, 1, LEVEL_BINS, "number of levels");
    for (size_t b = 0; b < LEVEL_BINS; b++) {
        level->middle[b] = read_float(p, 0, "middle of a level");
        if (b > 0 && b < level->n && level->middle[b] <= level->middle[b - 1])
            fail(p, "levels out of order");
    }
    for (size_t b = 0; b < LEVEL_BINS; b++)
        level->usual[b] = read_float(p, -1e3f, "usual distance of a level");
}

static void read_channel(struct parser *p, uint32_t n, struct channel *c) {
    uint32_t hidden = read_u32(p, 0, n < MAX_HIDDEN ? n : MAX_HIDDEN, "too many hidden units");

    c->n = n;
    c->mean = read_floats(p, n, -INFINITY, "a mean that is no number");
    c->spread = read_floats(p, n, 1e-6f, "a spread that is not positive");
    read_ellipsoid(p, n, &c->residuals[EXPECT_MEAN]);
    if (hidden > 0) {
        c->net.inputs = n;
        c->net.hidden = hidden;
        c->net.weights =
            read_floats(p, net_weights(n, hidden), -INFINITY, "a weight that is no number");
        read_ellipsoid(p, n, &c->residuals[EXPECT_NET]);
    }
    read_level(p, &c->level);
    read_tail(p, &c->tail);
    read_tail(p, &c->lasting);
}

static void read_columns(struct parser *p, struct model *m) {
    m->columns = read_u32(p, 1, WINDOWS_MAX_COLUMNS, "number of columns");
    m->names = read_array(p, m->columns, sizeof(*m->names));
    for (size_t i = 0; m->names && i < m->columns; i++)
        if (!m->names[i][0] || !memchr(m->names[i], '\0', sizeof(m->names[i])))
            fail(p, "name of a column");
    m->phases = read_array(p, m->columns, 1);
    for (size_t i = 0; m->phases && i < m->columns; i++)
        if (m->phases[i] & ~(EVIDENCE_STEADY | EVIDENCE_STARTUP | COLUMN_MEASURED))
            fail(p, "phases of a column");
    m->normal = read_floats(p, m->columns, 0, "a mean count that is no count");
    for (size_t g = 0; g < GROUPS; g++) {
        struct model_columns *group = &m->groups[g];

        group->n = read_u32(p, 0, m->columns, "number of columns of a group");
        group->columns = read_array(p, group->n, sizeof(uint16_t));
        for (size_t i = 0; group->columns && i < group->n; i++)
            if (group->columns[i] >= m->columns ||
                (i > 0 && group->columns[i] <= group->columns[i - 1]))
                fail(p, "columns of a group");
    }
}

static void read_evidence(struct parser *p, struct model *m) {
    struct evidence_set *set = &m->evidence;

    for (size_t f = 0; f < EVIDENCE_FEATURES; f++) {
        m->unseen[f].episodes = read_u32(p, 0, m->rows, "episodes of an evidence feature");
        m->unseen[f].most = read_u32(p, 0, UINT32_MAX, "");
    }
    set->n = read_u32(p, 0, EVIDENCE_MAX_KEYS, "number of evidence keys");
    set->keys = read_array(p, set->n, sizeof(*set->keys));
    for (size_t i = 1; set->keys && i < set->n; i++)
        if (set->keys[i] <= set->keys[i - 1])
            fail(p, "evidence keys out of order");
    set->phases = read_array(p, set->n, 1);
    for (size_t i = 0; set->phases && i < set->n; i++)
        if (set->phases[i] & ~(EVIDENCE_STEADY | EVIDENCE_STARTUP))
            fail(p, "phases of evidence");
    set->children = read_array(p, set->n, 1);
    for (size_t i = 0; set->children && i < set->n; i++)
        if (set->children[i] > EVIDENCE_OPEN_ENDED)
            fail(p, "subdirectories of evidence");
}

static void read_body(struct parser *p, struct model *m) {
    read_bytes(p, &m->rate, sizeof(m->rate));
    if (!(m->rate > 0 && m->rate < 1))
        fail(p, "false-alarm rate");
    m->rows = read_u32(p, 1, UINT32_MAX, "number of rows");
    read_columns(p, m);
    for (size_t g = 0; g < GROUPS && p->error == 0; g++)
        if (m->groups[g].n > 0)
            read_channel(p, m->groups[g].n, &m->channels[g]);
    for (size_t i = 0; i < RESOURCES; i++) {
        read_tail(p, &m->resources[i].use);
        read_tail(p, &m->resources[i].lasting);
    }
    read_tail(p, &m->novelty);
    m->silence = read_u32(p, 0, m->rows, "longest silence");
    read_evidence(p, m);
    if (p->error == 0 && p->at < p->size)
        fail(p, "more data than a model has");
}

static void read_header(struct parser *p) {
    char mark[sizeof(magic)];
    uint32_t size;
    uint64_t sum;

    read_bytes(p, mark, sizeof(mark));
    if (memcmp(mark, magic, sizeof(magic)) != 0)
        fail(p, "not an opatch model");
    read_u32(p, VERSION, VERSION, "a version that this program does not know");
    read_bytes(p, &size, sizeof(size));
    read_bytes(p, &sum, sizeof(sum));
    if (p->error == 0 && size != p->size - p->at)
        fail(p, "another size than it says");
    if (p->error == 0 && io_hash(IO_HASH_START, p->data + p->at, size) != sum)
        fail(p, "wrong checksum");
}

bool model_is_of_another_version(const char head[MODEL_HEAD]) {
    uint32_t version;

    memcpy(&version, head + sizeof(magic), sizeof(version));
    return memcmp(head, magic, sizeof(magic)) == 0 && version != VERSION;
}

int model_parse(const void *data, size_t size, const char *name, struct model **ret_model,
                struct err *err) {
    struct parser p = {.data = data, .name = name, .size = size, .err = err};
    _cleanup_model_ struct model *model = io_alloc(1, sizeof(*model));

    if (size > MODEL_MAX_SIZE)
        return err_set(err, EBADMSG, "%s: larger than a model may be", name);
    read_header(&p);
    if (p.error == 0)
        read_body(&p, model);
    if (p.error < 0)
        return p.error;
    *ret_model = take_ptr(model);
    return 0;
}
