/* SPDX-License-Identifier: Apache-2.0 */
/* The original config.json of a bundle, beside the changed one that stands in its place while a runtime
 * reads it.
 *
 * Invariant: only who has locked the bundle saves or restores. Several containers may be created from one
 * bundle at the same time, and of two that save, the second would take the first one's for the original. */
#pragma once

#include <stdbool.h>

/* In the bundle's directory. */
#define SAVED_NAME ".config.json.before-opatch"

/* Locks the open bundle for all who share this descriptor, until saved_unlock or its last close; who has
 * it already gets it again. -EWOULDBLOCK when another has it for longer than this. Where a file system
 * has no locks, nobody waits. */
int saved_lock(int bundle_fd, int timeout_ms);
void saved_unlock(int bundle_fd);

/* Gives the original its second name, under which it keeps its inode. Negative errno. */
int saved_keep(int bundle_fd);

/* Puts the original back in place of a config.json that names this listener; another, which an engine has
 * written since, stays. */
void saved_restore(int bundle_fd, const char *listener);

/* The same after a crash of the host in the middle of a create: whichever listener of opatch it names. */
void saved_restore_leftover(int bundle_fd);

/* True for the text of a config.json that names a listener of opatch: DIRECTORY/<16 hex digits>/listen. */
bool saved_names_listener(const char *text);
