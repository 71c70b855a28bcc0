/* SPDX-License-Identifier: Apache-2.0 */
/* Replays files through a fuzz target without libFuzzer: every file of the directories named. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MAX_SIZE (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns the number of files replayed, or a negative errno. */
static int replay(const char *path, struct err *err) {
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;
    int files = 0;

    if (!dir)
        return err_set(err, ENOENT, "%s: cannot open", path);
    while ((entry = readdir(dir))) {
        _cleanup_free_ char *text = NULL, *exact = NULL;
        size_t size;
        int error;

        if (entry->d_name[0] == '.')
            continue;
        error = io_read_file(dirfd(dir), entry->d_name, MAX_SIZE, &text, &size, err);
        if (error < 0)
            return error;
        exact = io_alloc(size + !size, 1); /* no NUL behind it, as libFuzzer calls */
        memcpy(exact, text, size);
        LLVMFuzzerTestOneInput((const uint8_t *)exact, size);
        files++;
    }
    return files;
}

int main(int argc, char **argv) {
    struct err err = {0};

    for (int i = 1; i < argc; i++) {
        int files = replay(argv[i], &err);

        if (files <= 0) {
            fprintf(stderr, "%s\n", files < 0 ? err.text : "an empty corpus proves nothing");
            return 1;
        }
        printf("%s: %d inputs\n", argv[i], files);
    }
    return 0;
}
