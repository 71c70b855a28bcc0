/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/dpkg.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/pydists.h"
#include "shim/base/rooted.h"
#include "shim/monitor.h"

#define PATIENCE_NS UINT64_C(1000000000) /* for all of it: mode hold freezes after it */
#define NPM_DEPTH 8                      /* directories below a starting point, … */
#define NPM_MAX_DIRS 20000               /* … and visited in all */

struct search {
    struct package_facts *facts;
    uint64_t deadline_ns;
    unsigned left;     /* directories that may still be visited */
    bool found, whole; /* a node_modules; all that there is */
};

/* As rooted_read, without waiting for anybody. */
static int read_near(int dir, const char *path, size_t max, char **ret_text, size_t *ret_size) {
    _cleanup_close_ int fd = rooted_open_file_near(dir, path);

    return fd < 0 ? fd : io_read_fd(fd, path, max, ret_text, ret_size, NULL);
}

static void gather_apt(int root_fd, struct package_facts *facts) {
    _cleanup_dpkg_ struct dpkg_status status = {0};
    _cleanup_free_ char *text = NULL;
    size_t size;

    if (read_near(root_fd, "var/lib/dpkg/status", DPKG_STATUS_MAX, &text, &size) < 0 ||
        dpkg_parse(text, size, "status", &status, NULL) < 0)
        return;
    facts->known[MANAGER_APT] = true;
    for (size_t i = 0; i < status.n; i++)
        if (status.packages[i].installed)
            package_facts_add(facts, MANAGER_APT, status.packages[i].name,
                              status.packages[i].source, status.packages[i].source_version);
}

/* The package in this directory, if it is one. */
static void add_npm(struct search *search, int dir) {
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *text = NULL;
    const char *name, *version;
    size_t size;
    int r = read_near(dir, "package.json", 1u << 20, &text, &size);

    if (r == -EACCES || r == -EXDEV)
        search->whole = false;
    if (r < 0 || json_parse(text, size, JSON_PRESERVE, &root, NULL) < 0)
        return;
    name = json_get_string(root, "name");
    version = json_get_string(root, "version");
    if (name && version)
        package_facts_add(search->facts, MANAGER_NPM, name, NULL, version);
}

/* A link in a node_modules mostly leads to a package in another one, as pnpm makes them, which is visited
 * by its own name. Wherever else it leads, nobody looks. */
static void note_link(struct search *search, int dir, const char *name, bool inside) {
    bool modules = strcmp(name, "node_modules") == 0;
    char target[512];
    ssize_t n;

    if (!modules && (!inside || name[0] == '.'))
        return;
    n = readlinkat(dir, name, target, sizeof(target));
    if (modules || n <= 0 || !memmem(target, (size_t)n, "node_modules/", strlen("node_modules/")))
        search->whole = false;
}

static int enter(struct search *search, int dir, const char *path, int flags, bool inside) {
    int fd = rooted_open_near(dir, path, O_RDONLY | O_DIRECTORY | flags);

    if (fd < 0 && (!rooted_nothing_below(dir, path, fd) || (inside && fd == -EACCES)))
        search->whole = false;
    return fd;
}

static bool may_go_on(struct search *search) {
    if (io_monotonic_ns() >= search->deadline_ns)
        search->left = 0;
    return search->left > 0;
}

/* Every package below a node_modules directory, nested and scoped ones too. Directories that are there for
 * the packages in them only go half as deep as others. */
static void walk(struct search *search, int dir_fd, unsigned depth, bool inside) {
    _cleanup_closedir_ DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;

    if (!dir) {
        close(dir_fd);
        return;
    }
    while (may_go_on(search) && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        bool modules = strcmp(name, "node_modules") == 0, scope = inside && name[0] == '@';
        bool hidden = strcmp(name, ".pnpm") == 0 || strcmp(name, ".nvm") == 0;
        unsigned cost = modules || scope || hidden ? 1 : 2;
        int fd;

        if (strcmp(name, ".yarn") == 0 || strcmp(name, ".store") == 0)
            search->whole = false; /* packages in archives, and under names of yarn's own */
        if (entry->d_type == DT_LNK)
            note_link(search, dirfd(dir), name, inside);
        if ((name[0] == '.' && !hidden) || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
            continue;
        fd = enter(search, dirfd(dir), name, O_NOFOLLOW, inside);
        if (fd < 0)
            continue;
        search->left--;
        search->found |= modules;
        if (inside && cost == 2)
            add_npm(search, fd);
        if (depth >= cost)
            walk(search, fd, depth - cost, modules || scope);
        else
            close(fd);
    }
}

/* Whether a program of this name, or one of a version (python3.11), is where programs are. */
static bool is_program_there(int root_fd, const char *name) {
    static const char *const places[] = {"usr/bin", "usr/local/bin", "bin"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        int fd = rooted_open_near(root_fd, places[i], O_RDONLY | O_DIRECTORY);
        _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        while (dir && (entry = readdir(dir)))
            if (strncmp(entry->d_name, name, strlen(name)) == 0)
                return true;
    }
    return false;
}

static void gather_npm(int root_fd, uint64_t deadline_ns, struct package_facts *facts) {
    static const char *const starts[] = {"app", "srv", "opt", "home", "root", "usr/src",
                                         "usr/lib/node_modules", "usr/local/lib/node_modules",
                                         "usr/share/nodejs", "var/www", "node_modules"};
    struct search search = {facts, deadline_ns, NPM_MAX_DIRS, false, true};

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        bool modules = strstr(starts[i], "node") != NULL;
        int fd = enter(&search, root_fd, starts[i], 0, modules);

        if (fd < 0)
            continue;
        search.found |= modules;
        walk(&search, fd, 2 * NPM_DEPTH, modules);
    }
    /* Without any there may be one at another place, unless nobody could run it. */
    facts->known[MANAGER_NPM] = search.left > 0 && search.whole &&
                                (search.found || !is_program_there(root_fd, "node"));
}

static int add_pip(const struct pydist *dist, void *data, struct err *err) {
    (void)err;
    if (!dist->foreign)
        package_facts_add(data, MANAGER_PIP, dist->name, NULL, dist->version);
    return 0;
}

void facts_gather_until(int root_fd, uint64_t deadline_ns, struct package_facts *facts) {
    bool whole = false, found = false;
    int r;

    gather_apt(root_fd, facts);
    gather_npm(root_fd, deadline_ns, facts);
    r = pydists_each_near(root_fd, deadline_ns, add_pip, facts, &found, &whole, NULL);
    facts->known[MANAGER_PIP] = r == 0 && whole && (found || !is_program_there(root_fd, "python"));
}

void facts_gather(int root_fd, struct package_facts *facts) {
    facts_gather_until(root_fd, io_monotonic_ns() + PATIENCE_NS, facts);
}
