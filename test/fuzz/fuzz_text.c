/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a path and a name of a container: what is recorded of them is read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/json.h"
#include "shim/base/text.h"
#include "shim/base/windows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_windows_ struct windows windows = {0};
    _cleanup_json_ struct json *object = json_new(JSON_OBJECT);
    struct evidence e = {.kind = EVIDENCE_OPEN};
    _cleanup_free_ char *line = NULL;
    size_t length;

    if (size > 0) /* cut as the responder does */
        memcpy(e.what, data, size < sizeof(e.what) ? size : sizeof(e.what) - 1);
    memcpy(e.comm, e.what, sizeof(e.comm) - 1);
    text_clean(e.what);
    text_clean(e.comm);
    json_add(object, "row", json_new_u64(0));
    json_add(object, "kind", json_new_string(evidence_kind_name(e.kind)));
    json_add(object, "comm", json_new_string(e.comm));
    json_add(object, "what", json_new_string(e.what));
    line = json_print(object, &length);
    if (windows_parse_evidence(line, length, "line", &windows, NULL) < 0 || windows.evidences != 1 ||
        strcmp(windows.evidence[0].what, e.what) != 0 || strcmp(windows.evidence[0].comm, e.comm) != 0)
        abort();
    return 0;
}
