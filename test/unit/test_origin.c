/* SPDX-License-Identifier: Apache-2.0 */
/* What of a patch may be brought into other containers: each row's root and upper are compared with an opened
 * package. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/origin.h"
#include "test/unit/trees.h"

/* The package of the test is a directory. */
static int open_directory(const char *file, const char *dir, struct err *err) {
    _cleanup_free_ char *command = io_format("cp -a %s/. %s", file, dir);

    return system(command) ? err_set(err, EIO, "cp") : 0;
}

static const struct manager opens = {.name = "test", .open = open_directory, .lists = true}, stages = {.name = "test"};

#define INFO "/var/lib/dpkg/info"
/* Of NAME VERSION:NAME VERSION. */
#define STATUS(before, after) "mkdir -p root/var/lib/dpkg upper/var/lib/dpkg;" SAYS(before, "root") SAYS(after, "upper")
#define SAYS(packages, tree) "echo " packages " | tr : '\\n' | sed 's/\\(.*\\) \\(.*\\)/Package: \\1\\nStatus: install ok installed\\n" \
    "Architecture: all\\nVersion: \\2\\n/' >" tree "/var/lib/dpkg/status;"
/* Of DIGIT PATH:DIGIT PATH. */
#define CHECKED(before, after) "mkdir -p root" INFO " upper" INFO " pkg/DEBIAN;" SUMS(before, "root" INFO "/p.md5sums") \
    SUMS(after, "upper" INFO "/p.md5sums") SUMS(after, "pkg/DEBIAN/md5sums")
#define SUMS(lines, file) "echo " lines " | tr : '\\n' | sed 's/\\(.\\) /\\1000000000000000000000000000000\\1  /' >" file ";"
#define LISTS "mkdir -p root" INFO " upper" INFO ";"
#define REMOVED "echo o >root/usr/lib/f; mknod upper/usr/lib/f c 0 0;"

static const struct {
    const char *files; /* makes root, upper and pkg; each has /usr/lib with a file `same`, and pkg `lib.so.1.2` */
    const char *kept;  /* paths and types of what is kept; NULL: nothing is, for the path in refused */
    const char *refused;
} cases[] = {
    {"echo n >upper/usr/lib/f; cp -a upper/usr/lib/f pkg/usr/lib", "/usr/lib/f=1", NULL},
    {"echo n >upper/usr/lib/f; mkdir pkg/lib; echo n >pkg/lib/f", "/usr/lib/f=1", NULL},
    {"echo n >upper/usr/lib/f; echo m >pkg/usr/lib/f", NULL, "/usr/lib/f"},
    {"echo n >upper/usr/lib/f", NULL, "/usr/lib/f"},
    {"echo o >root/usr/lib/f", "", NULL},
    {"mkdir upper/opt; chmod 777 upper/opt", NULL, "/opt"},
    {"mkdir upper/opt pkg/opt; chmod 777 upper/opt pkg/opt", "/opt=2", NULL},
    {"echo n >upper/usr/lib/f; cp -a upper/usr/lib/f pkg/usr/lib; chmod 4755 upper/usr/lib/f", NULL, "/usr/lib/f"},
    {"echo n >upper/usr/lib/f; chmod 4755 upper/usr/lib/f; cp -a upper/usr/lib/f pkg/usr/lib", "/usr/lib/f=1", NULL},
    {"echo n >upper/usr/lib/f; cp -a upper/usr/lib/f pkg/usr/lib; chown 7 upper/usr/lib/f", NULL, "/usr/lib/f"},
    {"echo n >upper/usr/lib/f; echo o >root/usr/lib/f; cp upper/usr/lib/f pkg/usr/lib; chown 7 upper/usr/lib/f root/usr/lib/f",
     "/usr/lib/f=1", NULL},
    /* compiled Python */
    {"echo n >upper/usr/lib/f.pyc", "", NULL},
    {"echo n >upper/usr/lib/f.pyc; echo o >root/usr/lib/f.pyc", "/usr/lib/f.pyc=0", NULL},
    {"echo n >upper/usr/lib/f.pyc; cp -a upper/usr/lib/f.pyc pkg/usr/lib", "/usr/lib/f.pyc=1", NULL},
    {"echo n >upper/usr/lib/a.pyc; ln upper/usr/lib/a.pyc upper/usr/lib/f; echo n >pkg/usr/lib/f", NULL, "/usr/lib/f"},
    /* links */
    {"ln -s lib.so.1.2 upper/usr/lib/lib.so.1", "/usr/lib/lib.so.1=3", NULL},
    {"ln -s lib.so.1.3 upper/usr/lib/lib.so.1", NULL, "/usr/lib/lib.so.1"},
    {"mkdir upper/etc upper/etc/alternatives; ln -s /usr/lib/lib.so.1.2 upper/etc/alternatives/x;"
     "ln -s /etc/alternatives/x upper/usr/lib/x", "/etc=2 /etc/alternatives=2 /etc/alternatives/x=3 /usr/lib/x=3", NULL},
    {"ln -s /etc/alternatives/x upper/usr/lib/x; ln -s y root/usr/lib/x", NULL, "/usr/lib/x"},
    {"mkdir upper/etc upper/etc/alternatives; ln -s /evil upper/etc/alternatives/x", NULL, "/etc/alternatives/x"},
    /* what installing writes */
    {"mkdir -p upper/var/lib/dpkg; echo n >upper/var/lib/dpkg/available",
     "/var=2 /var/lib=2 /var/lib/dpkg=2 /var/lib/dpkg/available=1", NULL},
    {"mkdir -p upper/var/lib/dpkg; echo n >upper/var/lib/dpkg/diversions", NULL, "/var/lib/dpkg/diversions"},
    {"mkdir -p upper/var/lib/dpkg; echo n >upper/var/lib/dpkg/statoverride", NULL, "/var/lib/dpkg/statoverride"},
    {STATUS("p 1:q 1:r 1", "r 1:p 2:q 1"), "/var/lib/dpkg/status=1", NULL},
    {STATUS("a 1:p 1:q 1", "a 1:p 2"), NULL, "/var/lib/dpkg/status"},
    {STATUS("a 1:p 1", "a 1:p 2:q 1"), NULL, "/var/lib/dpkg/status"},
    {STATUS("a 1:p 1:q 1", "a 1:p 2:q 2"), NULL, "/var/lib/dpkg/status"},
    {STATUS("a 1:p 1:q 1", "a 1:p 2:r 1"), NULL, "/var/lib/dpkg/status"},
    {STATUS("a 1:p 1", "a 1:p 2:p 3"), "/var/lib/dpkg/status=1", NULL},
    /* all that is new, by the checksums */
    {STATUS("p 1", "p 2") CHECKED("a usr/lib/g", "b usr/lib/g") "echo o >root/usr/lib/g; echo n >upper/usr/lib/g; cp -a upper/usr/lib/g pkg/usr/lib",
     "/usr/lib/g=1 /var/lib/dpkg/info/p.md5sums=1 /var/lib/dpkg/status=1", NULL},
    {STATUS("p 1", "p 2") CHECKED("a usr/lib/g", "b usr/lib/g") "for t in root upper pkg; do echo n >$t/usr/lib/g; done", NULL, "/usr/lib/g"},
    {STATUS("p 1", "p 2") CHECKED("a usr/lib/g", "a usr/lib/g:b usr/share/doc/g") "for t in root upper pkg; do echo n >$t/usr/lib/g; done",
     "/var/lib/dpkg/info/p.md5sums=1 /var/lib/dpkg/status=1", NULL},
    {STATUS("p 1", "p 2") CHECKED("b usr/lib/g", "b usr/lib/g"), NULL, "the checksums of p were the new ones"},
    {STATUS("p 1", "p 2") CHECKED("a usr/lib/f", "b usr/lib/f:c lib/g") "for t in upper pkg; do echo n >$t/usr/lib/f; echo n >$t/usr/lib/g; done",
     "/usr/lib/f=1 /usr/lib/g=1 /var/lib/dpkg/info/p.md5sums=1 /var/lib/dpkg/status=1", NULL},
    {"mkdir -p upper/var/lib/dpkg; echo n >upper/var/lib/dpkg/status", NULL, "/var/lib/dpkg/status"},
    {"mkdir -p upper/var/lib/dpkg; echo n >upper/var/lib/dpkg/x; chmod +x upper/var/lib/dpkg/x", NULL, "/var/lib/dpkg/x"},
    {"mkdir -p upper/var/lib/dpkg; ln -s /evil upper/var/lib/dpkg/x", NULL, "/var/lib/dpkg/x"},
    {"mkdir -p root/var/lib/dpkg/info upper/var/lib/dpkg/info pkg/DEBIAN; cd upper/var/lib/dpkg/info; echo n >p.list; echo s >p.prerm;"
     "echo s >p:amd64.config; cp p.prerm p:amd64.config ../../../../../pkg/DEBIAN; mv ../../../../../pkg/DEBIAN/p:amd64.config "
     "../../../../../pkg/DEBIAN/config; mv ../../../../../pkg/DEBIAN/p.prerm ../../../../../pkg/DEBIAN/prerm",
     "/var/lib/dpkg/info/p.list=1 /var/lib/dpkg/info/p.prerm=1 /var/lib/dpkg/info/p:amd64.config=1", NULL},
    {"mkdir -p root/var/lib/dpkg/info upper/var/lib/dpkg/info; echo n >upper/var/lib/dpkg/info/p.prerm", NULL, "/var/lib/dpkg/info/p.prerm"},
    /* configuration */
    {"mkdir root/etc upper/etc; echo o >root/etc/f; echo n >upper/etc/f", "", NULL},
    {"mkdir root/etc upper/etc; echo n >upper/etc/f", NULL, "/etc/f"},
    {"mkdir root/etc upper/etc pkg/etc; echo n >upper/etc/f.dpkg-dist; echo n >pkg/etc/f", "/etc/f.dpkg-dist=1", NULL},
    /* removals */
    {REMOVED, "", NULL},
    {REMOVED LISTS "echo /usr/lib/f >root" INFO "/p.list; echo n >upper" INFO "/p.list",
     "/usr/lib/f=0 /var/lib/dpkg/info/p.list=1", NULL},
    {REMOVED LISTS "echo /lib/f >root" INFO "/p.list; echo n >upper" INFO "/p.list",
     "/usr/lib/f=0 /var/lib/dpkg/info/p.list=1", NULL},
    {REMOVED LISTS "echo /usr/lib/f >root" INFO "/q.list", "", NULL},
    {REMOVED LISTS "echo o >root" INFO "/p.list; echo /usr/lib/f >upper" INFO "/p.list", "/var/lib/dpkg/info/p.list=1", NULL},
    {REMOVED "mkdir -p root/var/lib/dpkg/status.d upper/var/lib/dpkg/status.d; "
     "echo '0123456789abcdef0123456789abcdef  usr/lib/f' >root/var/lib/dpkg/status.d/p.md5sums; "
     "echo n >upper/var/lib/dpkg/status.d/p.md5sums", "/usr/lib/f=0 /var/lib/dpkg/status.d/p.md5sums=1", NULL},
    {LISTS "for p in p q p.2; do echo o >root" INFO "/$p.prerm; mknod upper" INFO "/$p.prerm c 0 0; done",
     "/var/lib/dpkg/info/p.prerm=0", NULL},
    {"echo o >root/usr/lib/f.pyc; mknod upper/usr/lib/f.pyc c 0 0", "/usr/lib/f.pyc=0", NULL},
};

static int check(size_t row, const struct manager *manager, char **ret_kept, struct err *err) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_free_ char *package = at("pkg"), *scratch = at("data/packages");
    _cleanup_changes_ struct changes kept = {0};
    struct package_step step = {.name = (char[]){"p"}, .file = package};
    const struct plan plan = {&step, 1};
    struct origin origin = {.manager = manager, .plan = &plan, .changes = &journal.changes};
    size_t size;
    FILE *text = open_memstream(ret_kept, &size);
    int r;

    shell("rm -rf root upper pkg data; mkdir -p root/usr/lib upper/usr/lib pkg/usr/lib data;"
          "for t in root upper pkg; do echo s >$t/usr/lib/same; done; echo l >pkg/usr/lib/lib.so.1.2");
    shell(cases[row].files);
    begin(&journal);
    origin.blobs = journal.blobs;
    r = origin_check(&origin, scratch, &kept, err);
    for (size_t i = 0; i < kept.n; i++)
        fprintf(text, "%s%s=%d", i ? " " : "", kept.list[i].path, (int)kept.list[i].after.type);
    fclose(text);
    return r;
}

static void judges(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *kept = NULL;
        struct err err = {0};
        int r = check(i, &opens, &kept, &err);
        bool named = cases[i].refused && strncmp(err.text, cases[i].refused, strlen(cases[i].refused)) == 0 &&
                     err.text[strlen(cases[i].refused)] == ' ';

        if (cases[i].kept ? r != 0 || strcmp(kept, cases[i].kept) != 0 : r != -EPERM || !named)
            fail_msg("row %zu: %d, \"%s\", %s", i, r, kept, err.text);
    }
}

/* What was unpacked on the host needs no second look, but rights count all the same. */
static void judges_what_was_staged_on_the_host(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *kept = NULL;
        struct err err = {0};
        int r = check(i, &stages, &kept, &err);
        bool rights = strstr(cases[i].files, "4755") || strstr(cases[i].files, "777") || strstr(cases[i].files, "chown 7 upper");

        if (r != (rights && !strstr(cases[i].files, "root/usr/lib/f") ? -EPERM : 0))
            fail_msg("row %zu: %d, %s", i, r, err.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(judges, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(judges_what_was_staged_on_the_host, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
