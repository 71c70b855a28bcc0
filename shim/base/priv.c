/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/priv.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim/base/cleanup.h"

#define NOBODY 65534

int priv_keep(const char *const *names, struct err *err) {
    cap_t wanted = cap_init(), have = cap_get_proc();
    int r = 0;

    for (; *names && r == 0; names++) {
        cap_flag_value_t permitted = CAP_CLEAR;
        cap_value_t value;

        if (cap_from_name(*names, &value) < 0)
            continue; /* a kernel or library that does not know it */
        cap_get_flag(have, value, CAP_PERMITTED, &permitted);
        if (permitted == CAP_SET && (cap_set_flag(wanted, CAP_PERMITTED, 1, &value, CAP_SET) < 0 ||
                                     cap_set_flag(wanted, CAP_EFFECTIVE, 1, &value, CAP_SET) < 0))
            r = -errno;
    }
    if (r == 0 && cap_set_proc(wanted) < 0)
        r = -errno;
    cap_free(wanted);
    cap_free(have);
    return r < 0 ? err_errno(err, -r, "cannot give up capabilities") : 0;
}

uid_t priv_account(const char *account) {
    _cleanup_fclose_ FILE *file = fopen("/etc/passwd", "re");
    const struct passwd *pw = NULL;

    while (file && (pw = fgetpwent(file)) && strcmp(pw->pw_name, account) != 0)
        ;
    return pw ? pw->pw_uid : NOBODY;
}

int priv_drop(const char *account, struct err *err) {
    const struct passwd *pw = getpwnam(account);
    uid_t uid = pw ? pw->pw_uid : NOBODY;
    gid_t gid = pw ? pw->pw_gid : NOBODY;
    cap_t none = cap_init();
    int r = 0;

    for (cap_value_t value = 0; cap_get_bound(value) >= 0; value++)
        cap_drop_bound(value); /* without CAP_SETPCAP it stays: useless with no_new_privs */
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
        cap_set_proc(none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        r = -errno;
    cap_free(none);
    if (r == 0 && (setuid(0) == 0 || getuid() != uid))
        r = -EPERM;
    return r < 0 ? err_errno(err, -r, "cannot become the unprivileged account %s", account) : 0;
}
