/* SPDX-License-Identifier: Apache-2.0 */
/* A change set: for each path of a root file system its state before and after. It is what staging
 * yields, what the journal keeps, what is committed or undone, and what a proven patch consists of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "shim/base/err.h"

struct json;

enum node_type { NODE_ABSENT, NODE_FILE, NODE_DIRECTORY, NODE_SYMLINK, NODE_TYPES };

/* The state of one path. */
struct node {
    enum node_type type;
    mode_t mode; /* permission bits; not of symlinks */
    uid_t uid;   /* host ids, as the file system has them */
    gid_t gid;
    uint64_t size;    /* NODE_FILE */
    uint64_t room;    /* NODE_FILE: bytes on the disk where it was read; else 0 */
    int64_t mtime_ns; /* NODE_FILE: since the epoch */
    int64_t ctime_ns; /* NODE_FILE: the last change to it where it was read; else 0 */
    uint64_t inode;   /* NODE_FILE: its number there; else 0 */
    bool several;     /* NODE_FILE: it had further names there */
    char *target;     /* NODE_SYMLINK */
    char *blob;       /* NODE_FILE: file in the journal's blob directory; NULL until it is saved */
    char *capability; /* NODE_FILE: security.capability in hex; NULL: none */
    char *same_as;    /* NODE_FILE: an earlier path of the set that is the same inode, or NULL */
};

struct change {
    char *path; /* absolute, no symbolic link but perhaps the last component */
    struct node before, after;
    char *staged; /* path of after in the staged tree while the set is made; else NULL */
};

struct changes {
    struct change *list; /* ascending by path: a directory comes before what is in it */
    size_t n;
};

#define CHANGES_MAX_BYTES (UINT64_C(4) << 30) /* of all files of a set, old and new */
#define CHANGES_MAX 40000 /* of a set; a journal of more could not be read again (JSON_MAX_NODES) */

/* Appends an empty change of this path. */
struct change *changes_add(struct changes *changes, const char *path);
void changes_sort(struct changes *changes);
struct change *changes_find(const struct changes *changes, const char *path); /* after sorting */
void changes_free(struct changes *changes);
#define _cleanup_changes_ __attribute__((cleanup(changes_free)))
void node_free(struct node *node);
void change_free(struct change *change);

/* Files with new content and their bytes. */
void changes_sum(const struct changes *changes, uint64_t *ret_files, uint64_t *ret_bytes);

/* An array, and back. Paths, targets and blobs of a wrong form are refused. */
struct json *changes_to_json(const struct changes *changes);
int changes_from_json(const struct json *array, struct changes *ret_changes, struct err *err);

enum side { SIDE_BEFORE, SIDE_AFTER };

/* The content of a file of that side: its own blob, or that of the name of which it is a further one. For
 * reading; negative errno. */
int changes_open_blob(const struct changes *changes, const struct node *node, enum side side, int blobs);

/* The directory of path below root, and *ret_base pointing at its last component in path. No symbolic
 * link is followed: a path of a change set names the directories of the side it is of, and where one
 * of them is something else, nothing is there (-ENOENT). */
int node_parent(int root, const char *path, const char **ret_base);
int node_open_directory(int root, const char *path); /* for reading; the same way */

/* The state of path below root, no symbolic link followed. A device, socket or FIFO is -ENOTSUP. fd,
 * if not NULL, gets the open file of a NODE_FILE, else it is left alone. */
int node_read(int root, const char *path, struct node *ret_node, int *ret_fd, struct err *err);
int node_read_in(int parent, const char *base, struct node *ret_node, int *ret_fd);

/* Gives an open file or directory the owner, mode, time and capability of the node. */
int node_set_metadata(int fd, const struct node *node);

/* All of size, holes kept. -ESTALE: there is less. */
int node_copy_bytes(int from, int to, uint64_t size);
bool node_same_bytes(int a, int b);

/* Same type, owner, mode, link target, capability and size; not: time, content, blob. */
bool node_same(const struct node *a, const struct node *b);

/* Saves the bytes of a NODE_FILE from fd as blob `name` in the directory blobs; not synced. */
int node_save(struct node *node, int fd, int blobs, const char *name, struct err *err);

/* Brings all paths below root to one side. May be repeated after it was interrupted anywhere, in
 * either direction: the outcome depends on the side alone. New content is complete and synced under
 * a temporary name in the same directory before the first visible change. What is on that side already
 * keeps its inode, and takes no room: undoing what has not begun succeeds on a full disk. */
int changes_apply(const struct changes *changes, enum side side, int root, int blobs,
                  struct err *err);

/* The same to SIDE_AFTER from SIDE_BEFORE, which is looked at once more when all is prepared, as the container
 * runs: -ESTALE when a path is not as it was. *ret_begun: the container may have been changed, and is to be
 * brought back; else it is as it was, and what others have written there meanwhile is not ours to undo. */
int changes_commit(const struct changes *changes, int root, int blobs, bool *ret_begun, struct err *err);

/* 0 when all paths below root are on that side, content included; else -ESTALE, naming the first. resting:
 * nothing runs there, so that what still has the number, size and time of change (which nobody can set) of the
 * file that was read is that file, of a layer below, and is not read again. */
int changes_check(const struct changes *changes, enum side side, bool resting, int root, int blobs,
                  struct err *err);

/* 0 when nobody but the patch has changed its paths, so that undoing it overwrites nothing of others; else
 * -ESTALE, naming the first. interrupted: it, or its undoing, ended anywhere on the way. Compiled Python may
 * be anything, as interpreters write it, and a directory may have stayed because others keep files in it. */
int changes_check_own(const struct changes *changes, bool interrupted, int root, int blobs,
                      struct err *err);

/* A compiled Python file, or the directory of such. */
bool path_is_compiled(const char *path);
