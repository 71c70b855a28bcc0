/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "runtime-hooks/debdir.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define LISTS_FRESH_S 3600
#define APT_TIMEOUT_MS 120000
#define OUTPUT_MAX (4u << 20)

static char environment_path[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static char environment_locale[] = "LC_ALL=C";

static int change_directory(void *data, struct err *err) {
    return chdir(data) < 0 ? err_errno(err, errno, "%s", (const char *)data) : 0;
}

/* conf and dir (where to run) may be NULL. */
static int run(const char *conf, char *dir, char *const *argv, char **ret_output, struct err *err) {
    _cleanup_free_ char *config = io_format("APT_CONFIG=%s", conf ? conf : "");
    char *env[] = {environment_path, environment_locale, conf ? config : NULL, NULL};
    struct spawn spawn = {.argv = argv,
                          .env = env,
                          .timeout_ms = APT_TIMEOUT_MS,
                          .max_output = OUTPUT_MAX,
                          .setup = dir ? change_directory : NULL,
                          .setup_data = dir};

    return spawn_check(&spawn, ret_output, err);
}

static int write_file(const char *dir, const char *name, const char *text, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);

    return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, err);
}

/* The host's Acquire::http and Acquire::https lines: its way through proxies. */
static char *network_settings(void) {
    char *argv[] = {(char[]){"apt-config"}, (char[]){"dump"}, NULL};
    _cleanup_free_ char *dump = NULL;
    char *text = NULL, *save = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    if (run(NULL, NULL, argv, &dump, NULL) == 0)
        for (char *line = strtok_r(dump, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            if (strncmp(line, "Acquire::http::", 15) == 0 ||
                strncmp(line, "Acquire::https::", 16) == 0)
                fprintf(out, "%s\n", line);
    if (fclose(out) != 0)
        abort();
    return text;
}

/* The whole configuration: nothing of the host's own is read but what network_settings() copied.
 * Valid-Until is not checked: releases that are out of support stop renewing it, exact versions are
 * asked for, and an old list can therefore only refuse a patch, never bring another one. */
static char *configuration(const struct archive *archive, const char *archs) {
    _cleanup_free_ char *network = network_settings();

    return io_format("Dir \"%s\";\n"
                     "Dir::Etc \"%s/etc\";\n"
                     "Dir::State \"%s\";\n"
                     "Dir::State::lists \"%s/lists\";\n"
                     "Dir::State::status \"%s/status\";\n"
                     "Dir::Cache \"%s\";\n"
                     "Dir::Cache::archives \"%s\";\n"
                     "Dir::Bin::methods \"/usr/lib/apt/methods\";\n"
                     "Dir::Bin::dpkg \"/usr/bin/dpkg\";\n"
                     "%s"
                     "APT::Install-Recommends \"false\";\n"
                     "APT::Sandbox::User \"root\";\n"
                     "APT::Get::Assume-Yes \"true\";\n"
                     "Acquire::Languages \"none\";\n"
                     "Acquire::Check-Valid-Until \"false\";\n"
                     "Acquire::Retries \"1\";\n"
                     "Acquire::http::Timeout \"10\";\n"
                     "DPkg::Lock::Timeout \"30\";\n"
                     "%s",
                     archive->dir, archive->dir, archive->dir, archive->dir, archive->dir,
                     archive->dir, archive->packages, archs, network);
}

static int open_archive(const struct patch_request *request, const char *name, const char *archs,
                        const char *sources, struct archive *ret_archive, struct err *err) {
    static const char *const parts[] = {"etc/apt.conf.d", "etc/preferences.d", "lists/partial"};
    _cleanup_archive_ struct archive archive = {
        .lock = -1,
        .dir = io_format("%s/apt/%s", request->data_dir, name),
        .packages = io_format("%s/packages", request->data_dir)};
    _cleanup_free_ char *partial = io_format("%s/partial", archive.packages), *text = NULL;
    int r = io_mkdir_p(partial, 0700, err);

    for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++) {
        _cleanup_free_ char *path = io_format("%s/%s", archive.dir, parts[i]);

        r = io_mkdir_p(path, 0700, err);
    }
    archive.conf = io_format("%s/apt.conf", archive.dir);
    text = configuration(&archive, archs);
    if (r == 0)
        r = write_file(archive.dir, "apt.conf", text, err);
    if (r == 0)
        r = write_file(archive.dir, "etc/sources.list", sources, err);
    if (r < 0)
        return r;
    *ret_archive = archive;
    archive = (struct archive){0};
    return 0;
}

/* A sources.list line of the local packages, or "". The repository is ours and its checksums are
 * those of SHA256SUMS, which the administrator vouches for. */
static int local_source(const struct patch_request *request, char **ret_line, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s/apt/debs", request->data_dir);
    int n = request->package_dirs && request->package_dirs[0]
                ? debdir_index(request->package_dirs, dir, err)
                : 0;

    if (n < 0)
        return n;
    *ret_line = n ? io_format("deb [trusted=yes] file:%s ./\n", dir) : io_strdup("");
    return n;
}

/* Lists, status and index are one set for all containers, and another patcher's may be another one's. */
static int lock_archives(const struct patch_request *request, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s/apt", request->data_dir);

    return io_lock_directory(dir, 0700, err);
}

static int update(const struct archive *archive, struct err *err) {
    char *argv[] = {(char[]){"apt-get"}, (char[]){"-qq"}, (char[]){"update"}, NULL};

    return archive_apt(archive, argv, NULL, err);
}

int archive_open_local(const struct patch_request *request, const char *archs,
                       struct archive *ret_archive, struct err *err) {
    _cleanup_archive_ struct archive archive = {0};
    _cleanup_free_ char *line = NULL;
    _cleanup_close_ int lock = lock_archives(request, err);
    int r = lock < 0 ? lock : local_source(request, &line, err);

    if (r == 0)
        return err_set(err, ENOENT, "there is no local package");
    if (r > 0)
        r = open_archive(request, "local", archs, line, &archive, err);
    if (r == 0)
        r = archive_set_status(&archive, "", 0, err);
    if (r == 0)
        r = update(&archive, err);
    if (r < 0)
        return r;
    archive.lock = take_fd(&lock);
    *ret_archive = archive;
    archive = (struct archive){0};
    return 0;
}

char *archive_os_value(const char *text, const char *key) {
    size_t size = strlen(key);

    for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        if (strncmp(p, key, size) == 0 && p[size] == '=') {
            const char *value = p + size + 1;

            value += *value == '"';
            return strndup(value, strcspn(value, "\"\n"));
        }
    }
    return NULL;
}

static bool is_word(const char *text) {
    return text && *text && strlen(text) < 64 &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* From a line of `apt-get update --print-uris`, 'URI/dists/SUITE/InRelease' ...: a source for the
 * container's release when SUITE is the host's codename or begins with it ("-security"). */
static void add_source(FILE *out, char *line, const char *host, const char *container,
                       const char *keyring) {
    char *dists = strstr(line, "/dists/"), *suite, *end;

    if (line[0] != '\'' || !dists || !strstr(dists, "/InRelease'"))
        return;
    suite = dists + strlen("/dists/");
    end = strchr(suite, '/');
    *dists = *end = '\0';
    if (strncmp(suite, host, strlen(host)) == 0 &&
        (suite[strlen(host)] == '-' || !suite[strlen(host)]))
        fprintf(out, "deb [signed-by=%s] %s %s%s main\n", keyring, line + 1, container,
                suite + strlen(host));
}

static int remote_sources(const struct target *target, char **ret_codename, char **ret_lines,
                          struct err *err) {
    char *argv[] = {(char[]){"apt-get"}, (char[]){"update"}, (char[]){"--print-uris"}, NULL};
    _cleanup_free_ char *host = NULL, *release = NULL, *uris = NULL, *keyring = NULL;
    _cleanup_free_ char *host_id = NULL, *id = NULL, *host_name = NULL, *name = NULL;
    char *text = NULL, *save = NULL;
    size_t size;
    FILE *out;
    int r = rooted_read(target->root, "/etc/os-release", 65536, &release, &size, err);

    if (r < 0 || (r = io_read_file(AT_FDCWD, "/etc/os-release", 65536, &host, &size, err)) < 0)
        return r;
    host_id = archive_os_value(host, "ID");
    host_name = archive_os_value(host, "VERSION_CODENAME");
    id = archive_os_value(release, "ID");
    name = archive_os_value(release, "VERSION_CODENAME");
    if (!is_word(id) || !is_word(name) || !is_word(host_name) || strcmp(id, host_id) != 0)
        return err_set(err, ENOENT,
                       "the host has no package sources for the container's distribution");
    keyring = io_format("/usr/share/keyrings/%s-archive-keyring.gpg", id);
    r = run(NULL, NULL, argv, &uris, err);
    if (r < 0)
        return r;
    out = open_memstream(&text, &size);
    if (!out)
        abort();
    for (char *line = strtok_r(uris, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        add_source(out, line, host_name, name, keyring);
    if (fclose(out) != 0)
        abort();
    *ret_codename = take_ptr(name);
    *ret_lines = text;
    return 0;
}

int archive_open_remote(const struct patch_request *request, const struct target *target,
                        const char *archs, bool refresh, struct archive *ret_archive,
                        struct err *err) {
    _cleanup_archive_ struct archive archive = {0};
    _cleanup_free_ char *lines = NULL, *codename = NULL, *local = NULL, *all = NULL, *stamp = NULL;
    _cleanup_close_ int lock = lock_archives(request, err);
    struct stat st;
    int r = lock < 0 ? lock : remote_sources(target, &codename, &lines, err);

    if (r < 0)
        return r;
    r = local_source(request, &local, err);
    if (r < 0)
        return r;
    all = io_format("%s%s", local, lines);
    r = open_archive(request, codename, archs, all, &archive, err);
    if (r < 0)
        return r;
    stamp = io_format("%s/.updated", archive.dir);
    if (refresh || stat(stamp, &st) < 0 || st.st_mtime + LISTS_FRESH_S < time(NULL)) {
        r = archive_set_status(&archive, "", 0, err);
        if (r == 0)
            r = update(&archive, err);
        if (r == 0)
            r = write_file(archive.dir, ".updated", "", err);
    }
    if (r < 0)
        return r;
    archive.lock = take_fd(&lock);
    *ret_archive = archive;
    archive = (struct archive){0};
    return 0;
}

int archive_apt(const struct archive *archive, char *const *argv, char **ret_output, struct err *err) {
    return run(archive->conf, archive->packages, argv, ret_output, err);
}

int archive_set_status(const struct archive *archive, const char *status, size_t size,
                       struct err *err) {
    _cleanup_free_ char *path = io_format("%s/status", archive->dir);

    return io_replace_file(AT_FDCWD, path, status, size, 0600, (uid_t)-1, (gid_t)-1, err);
}

int archive_fetch(const struct archive *archive, const struct patch_request *request,
                  const char *name, const char *arch, const char *version, char **ret_file,
                  struct err *err) {
    const char *colon = strchr(version, ':');
    bool all = strcmp(arch, "all") == 0;
    _cleanup_free_ char *package = io_format("%s%s%s=%s", name, all ? "" : ":", all ? "" : arch, version), *file = NULL;
    char *argv[] = {(char[]){"apt-get"}, (char[]){"-qq"}, (char[]){"download"}, package, NULL};
    int r = debdir_find(request->package_dirs, name, arch, version, ret_file, err);

    if (r != -ENOENT)
        return r;
    file = colon ? io_format("%s/%s_%.*s%%3a%s_%s.deb", archive->packages, name,
                             (int)(colon - version), version, colon + 1, arch)
                 : io_format("%s/%s_%s_%s.deb", archive->packages, name, version, arch);
    /* Into the directory where apt runs; what is there already is checked against the lists. */
    r = archive_apt(archive, argv, NULL, err);
    if (r == 0 && access(file, R_OK) < 0)
        r = err_errno(err, errno, "apt has not left %s", file);
    if (r < 0)
        return r;
    *ret_file = take_ptr(file);
    return 0;
}

void archive_close(struct archive *archive) {
    if (archive->dir)
        cleanup_closep(&archive->lock);
    free(archive->dir);
    free(archive->conf);
    free(archive->packages);
    *archive = (struct archive){0};
}
