/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/replaced.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime-hooks/change.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define SIZE_MIN (64u << 10)
#define FILES_MAX 256 /* far below the usual limit of descriptors */

void replaced_open(const struct changes *changes, int root, struct replaced *ret) {
    *ret = (struct replaced){0};
    for (size_t i = 0; i < changes->n && ret->n < FILES_MAX; i++) {
        const struct change *change = &changes->list[i];
        struct node found = {0};
        _cleanup_close_ int fd = -1;

        if (change->before.type != NODE_FILE || change->before.size < SIZE_MIN ||
            node_read(root, change->path, &found, &fd, NULL) < 0)
            continue;
        node_free(&found);
        if (fd < 0)
            continue;
        ret->files = io_grow(ret->files, ret->n, sizeof(*ret->files));
        ret->files[ret->n++] = take_fd(&fd);
    }
}

void replaced_drop(const struct replaced *replaced) {
    for (size_t i = 0; i < replaced->n; i++)
        posix_fadvise(replaced->files[i], 0, 0, POSIX_FADV_DONTNEED);
}

void replaced_free(struct replaced *replaced) {
    for (size_t i = 0; i < replaced->n; i++)
        close(replaced->files[i]);
    free(replaced->files);
    *replaced = (struct replaced){0};
}
