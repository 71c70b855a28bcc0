/* SPDX-License-Identifier: Apache-2.0 */
/* A config.json is rewritten once, to something that a parser takes, or left as it was. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/json.h"
#include "shim/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int capture = 0; capture < CAPTURES; capture++) {
        _cleanup_json_ struct json *config = NULL, *again = NULL;
        _cleanup_free_ char *before = NULL, *after = NULL;
        struct config options = {.capture = (enum capture)capture};
        struct plan plan;
        int r;

        if (json_parse((const char *)data, size, JSON_PRESERVE, &config, NULL) < 0)
            return 0;
        plan_choose(&options, NULL, 0, false, &plan);
        before = json_print(config, NULL);
        r = bundle_rewrite(config, &plan.set, "/run/listen", NULL);
        after = json_print(config, NULL);
        if (r < 0 && strcmp(before, after) != 0)
            abort();
        if (r == 0 && (json_parse(after, strlen(after), JSON_PRESERVE, &again, NULL) < 0 ||
                       bundle_rewrite(again, &plan.set, "/run/listen", NULL) != -EALREADY))
            abort();
    }
    return 0;
}
