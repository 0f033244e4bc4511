/* A server's URL: refused in words, or taken apart into texts that are pieces of it. */
#include "fuzz.h"

#include "transport.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct satchel_url url;
    struct satchel_error error = {SATCHEL_OK, 0, ""};
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    enum satchel_status status = satchel_url_parse(&url, text, &error);
    if (status == SATCHEL_OK) {
        FUZZ_REQUIRE(url.port > 0 && url.port < 65536);
        FUZZ_REQUIRE(strnlen(url.host, sizeof url.host) < sizeof url.host && url.host[0]);
        FUZZ_REQUIRE(strnlen(url.path, sizeof url.path) < sizeof url.path && url.path[0] == '/');
        FUZZ_REQUIRE(strstr(text, url.host) != NULL && !strchr(url.host, '@'));
        fuzz_accepted_count++;
    } else {
        FUZZ_REQUIRE(status == SATCHEL_INVALID && error.message[0] != '\0');
    }
    free(text);
    return 0;
}
