/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up privilege. */
#pragma once

#include <sys/types.h>

#include "shim/base/err.h"

/* Keeps just these capabilities (names as in capabilities(7), "cap_kill" …, NULL-ended) effective
 * and permitted; the bounding set stays, so that a program executed as root has its own. */
int priv_keep(const char *const *names, struct err *err);

/* The account's number (that name in /etc/passwd, else nobody), without asking a directory service. */
uid_t priv_account(const char *account);

/* For good: becomes the account (that name, else nobody), no groups, no capabilities anywhere, no
 * new privileges, not traceable by others. */
int priv_drop(const char *account, struct err *err);
