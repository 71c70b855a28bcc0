/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are words. Every string of the result is an argument, or the end of one. */
#include <stdlib.h>
#include <string.h>

#include "shim/argv.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = io_alloc(size + 1, 1);
    struct invocation invocation;
    char *argv[64], *save = NULL;
    int argc = 0;

    memcpy(text, data, size);
    for (char *word = strtok_r(text, "\n", &save); word && argc < 63; word = strtok_r(NULL, "\n", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    argv_parse(argc, argv, &invocation);
    argv_events_is_ours(argc, argv, &invocation);
    const char *const strings[] = {invocation.verb, invocation.log, invocation.bundle, invocation.config_file,
                                   invocation.id};
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        if (strings[i] && (strings[i] < text || strings[i] > text + size))
            abort();
    if (!invocation.root || (invocation.verb && argv[invocation.verb_index] != invocation.verb) ||
        (invocation.creates && !invocation.verb))
        abort();
    return 0;
}
