/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/pydists.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define DEPTH 6            /* directories below a starting point */
#define MAX_DIRS 6000      /* directories visited in all */
#define MAX_ENTRIES 400000 /* names read in all */
#define MAX_DISTS 5000     /* distributions */
#define INSTALLER_MAX 4096 /* bytes */
#define APT_SITE "/usr/lib/python3/dist-packages"

struct search {
    int (*visit)(const struct pydist *, void *, struct err *);
    void *data;
    struct err *err;
    unsigned dirs, entries, dists; /* that may still be looked at */
    uint64_t deadline_ns;          /* 0: waits, and goes everywhere */
    bool found, whole;             /* a site; all that there is */
};

void pydist_normalise(char *name) {
    char *out = name;

    for (const char *p = name; *p; p++) {
        bool separator = strchr("-_.", *p);

        if (!separator)
            *out++ = (char)tolower((unsigned char)*p);
        else if (out == name || out[-1] != '-')
            *out++ = '-';
    }
    *out = '\0';
}

bool pydist_name_valid(const char *name) {
    size_t size = strlen(name);

    if (size == 0 || size > 200 || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[size - 1]))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    return true;
}

bool pydist_split(const char *info, char **ret_name, char **ret_version) {
    _cleanup_free_ char *name = io_strdup(info);
    char *dash;

    if (!io_ends_with(info, ".dist-info"))
        return false;
    name[strlen(info) - strlen(".dist-info")] = '\0';
    dash = strrchr(name, '-');
    if (!dash || !dash[1])
        return false;
    *dash = '\0';
    if (!pydist_name_valid(name))
        return false;
    *ret_version = io_strdup(dash + 1);
    pydist_normalise(name);
    *ret_name = take_ptr(name);
    return true;
}

/* What setuptools and Debian's Python 3.9 leave: "NAME-VERSION[-pyX.Y].egg-info", or without a
 * version. */
static bool split_egg(const char *info, char **ret_name, char **ret_version) {
    _cleanup_free_ char *name = io_strdup(info);
    char *dash, *version;

    if (!io_ends_with(info, ".egg-info"))
        return false;
    name[strlen(info) - strlen(".egg-info")] = '\0';
    dash = strchr(name, '-');
    version = dash ? dash + 1 : name + strlen(name);
    if (dash)
        *dash = '\0';
    version[strcspn(version, "-")] = '\0';
    if (!pydist_name_valid(name))
        return false;
    *ret_version = io_strdup(version);
    pydist_normalise(name);
    *ret_name = take_ptr(name);
    return true;
}

/* Whoever has no RECORD cannot be taken out by its files, and what Debian installed is apt's. */
static bool is_foreign(int site_fd, const char *info) {
    _cleanup_free_ char *record = io_format("%s/RECORD", info), *text = NULL;
    _cleanup_free_ char *installer = io_format("%s/INSTALLER", info);
    _cleanup_close_ int record_fd = rooted_open(site_fd, record, O_PATH | O_NOFOLLOW, 0), fd = -1;
    struct stat st;
    size_t size;

    if (record_fd < 0 || fstat(record_fd, &st) < 0 || !S_ISREG(st.st_mode))
        return true;
    fd = rooted_open_file(site_fd, installer, O_RDONLY | O_NOFOLLOW);
    if (fd < 0 || io_read_fd(fd, installer, INSTALLER_MAX, &text, &size, NULL) < 0)
        return false;
    text[strcspn(text, " \t\r\n")] = '\0';
    return strcmp(text, "debian") == 0;
}

static int visit_entry(struct search *search, int site_fd, const char *site, const char *info) {
    _cleanup_free_ char *name = NULL, *version = NULL;
    struct pydist dist = {.site = site, .info = info};

    if (pydist_split(info, &name, &version))
        dist.foreign = strcmp(site, APT_SITE) == 0 || is_foreign(site_fd, info);
    else if (split_egg(info, &name, &version))
        dist.foreign = true;
    else
        return 0;
    if (search->dists == 0)
        return err_set(search->err, E2BIG, "there are more than %d Python packages", MAX_DISTS);
    search->dists--;
    dist.name = name;
    dist.version = version;
    return search->visit(&dist, search->data, search->err);
}

/* Counts one name; false when no more are looked at. */
static bool may_go_on(struct search *search) {
    if (search->deadline_ns && io_monotonic_ns() >= search->deadline_ns)
        search->entries = 0;
    return search->entries > 0 && search->entries-- > 0;
}

static int enter(struct search *search, int dir, const char *path, bool site) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    int fd = search->deadline_ns ? rooted_open_near(dir, path, flags) : rooted_open(dir, path, flags, 0);

    if (fd < 0 && (!rooted_nothing_below(dir, path, fd) || (site && fd == -EACCES)))
        search->whole = false;
    return fd;
}

static int visit_site(struct search *search, int site_fd, const char *site) {
    _cleanup_closedir_ DIR *dir = fdopendir(site_fd);
    struct dirent *entry;
    int r = 0;

    if (!dir) {
        close(site_fd);
        return 0;
    }
    search->found = true;
    while (r == 0 && may_go_on(search) && (entry = readdir(dir)))
        r = visit_entry(search, dirfd(dir), site, entry->d_name);
    return r;
}

/* Directories that hold no environment, and many others. */
static bool is_skipped(const char *name) {
    static const char *const names[] = {".", "..", "node_modules", "__pycache__", ".git", ".cache"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* depth 0 looks into this directory only. pythons: only those called python3* are gone into. */
static int walk(struct search *search, int dir_fd, const char *path, unsigned depth, bool pythons) {
    _cleanup_closedir_ DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;
    int r = 0;

    if (!dir) {
        close(dir_fd);
        return 0;
    }
    while (r == 0 && search->dirs > 0 && may_go_on(search) && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        _cleanup_free_ char *child = NULL;
        bool site;
        int fd;

        if ((entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) || is_skipped(name) ||
            (pythons && strncmp(name, "python3", 7) != 0))
            continue;
        site = strcmp(name, "site-packages") == 0 || strcmp(name, "dist-packages") == 0;
        fd = enter(search, dirfd(dir), name, site);
        if (fd < 0)
            continue;
        search->dirs--;
        child = io_format("%s/%s", path, name);
        if (site)
            r = visit_site(search, fd, child);
        else if (depth > 0)
            r = walk(search, fd, child, depth - 1, false);
        else
            close(fd);
    }
    return r;
}

static int search_all(struct search *search, int root_fd) {
    static const struct {
        const char *path;
        unsigned depth;
        bool pythons;
    } starts[] = {
        {"/usr/lib", 1, true},   {"/usr/local/lib", 1, true}, {"/opt", DEPTH, false},
        {"/srv", DEPTH, false},  {"/app", DEPTH, false},      {"/code", DEPTH, false},
        {"/venv", DEPTH, false}, {"/usr/src", DEPTH, false},  {"/var/www", DEPTH, false},
        {"/home", DEPTH, false}, {"/root", DEPTH, false},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(starts); i++) {
        /* One that is a link leads to another that is looked into by its own name, or nowhere. */
        int fd = enter(search, root_fd, starts[i].path, false);

        if (fd >= 0)
            r = walk(search, fd, starts[i].path, starts[i].depth, starts[i].pythons);
    }
    if (r == 0 && (!search->dirs || !search->entries))
        r = err_set(search->err, E2BIG, "there are more directories than are searched for Python packages");
    return r;
}

int pydists_each(int root_fd, int (*visit)(const struct pydist *dist, void *data, struct err *err),
                 void *data, struct err *err) {
    struct search search = {visit, data, err, MAX_DIRS, MAX_ENTRIES, MAX_DISTS, 0, false, true};

    return search_all(&search, root_fd);
}

int pydists_each_near(int root_fd, uint64_t deadline_ns,
                      int (*visit)(const struct pydist *dist, void *data, struct err *err), void *data,
                      bool *ret_found, bool *ret_whole, struct err *err) {
    struct search search = {visit, data, err, MAX_DIRS, MAX_ENTRIES, MAX_DISTS, deadline_ns, false, true};
    int r = search_all(&search, root_fd);

    *ret_found = search.found;
    *ret_whole = search.whole;
    return r;
}
