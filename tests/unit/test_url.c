/* What a server's URL may look like, and that every mistake is told in words. */
#include "transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_url__takes_host_port_and_path(void **state)
{
    static const struct {
        const char *text;
        bool is_secure;
        const char *host;
        int port;
        const char *path;
    } CASES[] = {
        {"ws://127.0.0.1:80", false, "127.0.0.1", 80, "/sync"},
        {"wss://office.example:65535/", true, "office.example", 65535, "/sync"},
        {"ws://host", false, "host", 7447, "/sync"},
        {"wss://host:443/satchel/", true, "host", 443, "/satchel/"},
        {"ws://[::1]:9/a/b?c", false, "::1", 9, "/a/b?c"},
        {"ws://[fe80::1]", false, "fe80::1", 7447, "/sync"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct satchel_url url;
        struct satchel_error error = {0};
        assert_int_equal(satchel_url_parse(&url, CASES[i].text, &error), SATCHEL_OK);
        assert_int_equal(url.is_secure, CASES[i].is_secure);
        assert_string_equal(url.host, CASES[i].host);
        assert_int_equal(url.port, CASES[i].port);
        assert_string_equal(url.path, CASES[i].path);
    }
}

static void test_url__refuses_anything_else_in_words(void **state)
{
    static const char *const CASES[] = {
        NULL,
        "",
        "host:1",
        "http://host:1",
        "ws:/host",
        "ws://",
        "ws://:1",
        "ws://h:",
        "ws://h:0",
        "ws://h:65536",
        "ws://h:1x",
        "ws://h:-1",
        "ws://h:99999999999",
        "ws://[::1",
        "ws://[::1]x",
        "ws://u@h:1",
        "ws:///path",
        "ws://host/a b",
        "ws://host/a\r\nX-Forwarded-For: 192.0.2.1",
        "ws://ho\x7fst",
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct satchel_url url;
        struct satchel_error error = {0};
        assert_int_equal(satchel_url_parse(&url, CASES[i], &error), SATCHEL_INVALID);
        assert_non_null(strstr(error.message, "ws://HOST:PORT"));
    }
    char long_host[400] = "ws://";
    struct satchel_url url;
    memset(long_host + 5, 'a', sizeof long_host - 6);
    assert_int_equal(satchel_url_parse(&url, long_host, NULL), SATCHEL_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url__takes_host_port_and_path),
        cmocka_unit_test(test_url__refuses_anything_else_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
