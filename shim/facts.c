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

#define NPM_DEPTH 6       /* directories below a starting point */
#define NPM_MAX_DIRS 4000 /* directories visited in all */

static void gather_apt(int root_fd, struct package_facts *facts) {
    _cleanup_dpkg_ struct dpkg_status status = {0};
    _cleanup_free_ char *text = NULL;
    size_t size;

    if (rooted_read(root_fd, "var/lib/dpkg/status", DPKG_STATUS_MAX, &text, &size, NULL) < 0 ||
        dpkg_parse(text, size, "status", &status, NULL) < 0)
        return;
    facts->known[MANAGER_APT] = true;
    for (size_t i = 0; i < status.n; i++)
        if (status.packages[i].installed)
            package_facts_add(facts, MANAGER_APT, status.packages[i].name,
                              status.packages[i].source, status.packages[i].source_version);
}

static void add_npm(int dir, struct package_facts *facts) {
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *text = NULL;
    const char *name, *version;
    size_t size;

    if (rooted_read(dir, "package.json", 1u << 20, &text, &size, NULL) < 0 ||
        json_parse(text, size, JSON_PRESERVE, &root, NULL) < 0)
        return;
    name = json_get_string(root, "name");
    version = json_get_string(root, "version");
    if (name && version)
        package_facts_add(facts, MANAGER_NPM, name, NULL, version);
}

/* Every package below a node_modules directory, nested and scoped ones too. */
static void walk(int dir_fd, unsigned depth, bool inside, unsigned *left,
                 struct package_facts *facts) {
    _cleanup_closedir_ DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;

    if (!dir) {
        close(dir_fd);
        return;
    }
    while (*left > 0 && (entry = readdir(dir))) {
        bool modules = strcmp(entry->d_name, "node_modules") == 0;
        int fd;

        if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue;
        (*left)--;
        if (inside && entry->d_name[0] != '@')
            add_npm(fd, facts);
        if (depth > 0)
            walk(fd, depth - 1, modules || (inside && entry->d_name[0] == '@'), left, facts);
        else
            close(fd);
    }
}

static void gather_npm(int root_fd, struct package_facts *facts) {
    static const char *const starts[] = {"app", "srv", "opt", "home", "root", "usr/src",
                                         "usr/lib/node_modules", "usr/local/lib/node_modules",
                                         "usr/share/nodejs", "var/www", "node_modules"};
    unsigned left = NPM_MAX_DIRS;

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        int fd = rooted_open(root_fd, starts[i], O_RDONLY | O_DIRECTORY, 0);

        if (fd >= 0)
            walk(fd, NPM_DEPTH, strstr(starts[i], "node") != NULL, &left, facts);
    }
    facts->known[MANAGER_NPM] = left > 0;
}

static int add_pip(const struct pydist *dist, void *data, struct err *err) {
    (void)err;
    if (!dist->foreign)
        package_facts_add(data, MANAGER_PIP, dist->name, NULL, dist->version);
    return 0;
}

void facts_gather(int root_fd, struct package_facts *facts) {
    gather_apt(root_fd, facts);
    gather_npm(root_fd, facts);
    facts->known[MANAGER_PIP] = pydists_each(root_fd, add_pip, facts, NULL) == 0;
}
