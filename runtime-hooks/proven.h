/* SPDX-License-Identifier: Apache-2.0 */
/* Patches that have proved themselves in one container, kept for the next one of the same image:
 * DATA/patches/KEY/N-NAME/{patch.json, blobs/}. KEY stands for the unpatched image (struct state,
 * image): another image has another key, so nothing is ever applied to what it was not made for;
 * and before anything is changed every file is compared with what the patch was made on. */
#pragma once

#include <sys/types.h>

#include "runtime-hooks/journal.h"
#include "shim/base/err.h"

struct json;

/* Keeps the open journal entry as proven for this image, with these of its changes (origin.h). A patch of
 * the same name is replaced. */
int proven_save(const char *data_dir, const char *key, const struct journal *journal,
                const struct changes *changes, struct err *err);

/* Brings the image's proven patches into the root file system of a container that has not started:
 * in the order in which they were proven, each with a journal entry, so that it can be taken back.
 * root: its directory. Returns how many; one that is there already, or whose files are not what it was made
 * on, is passed by, and err names the last of the latter. */
int proven_apply(const char *data_dir, const char *key, const char *id, int root, struct err *err);

/* Takes back what was begun and not ended in a container that has not started, or not started again: by the
 * process applier, which died in the middle of proven_apply() (those before it stay, an entry of another is
 * none of this); 0: by whoever it was, as with the machine its patcher and its heir end. Returns whether there was such. */
int proven_recover(const char *data_dir, const char *id, pid_t applier, int root, struct err *err);

/* [{"key","name","time","package","fixed","files","bytes"}] */
int proven_list(const char *data_dir, struct json **ret_list, struct err *err);

/* Forgets all patches of an image; name not NULL: only that one. -ENOENT when there was none. */
int proven_forget(const char *data_dir, const char *key, const char *name, struct err *err);

/* The name that a patch with this "about" is kept under: its CVE, else its package. */
const char *proven_name(const struct json *about);
