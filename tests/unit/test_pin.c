/* Pins: how they may be written, and what they match. */
#include "pin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TEXT_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define TEXT_B "//////////////////////////////////////////8"

static void test_pin__is_read_in_any_spelling(void **state)
{
    (void)state;
    static const char *const spellings[] = {
        HEX_A,
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        TEXT_A,
        TEXT_A "=",
        "sha256/" TEXT_A "=",
        "sha256//" TEXT_A,
        "sha256/" HEX_A,
        TEXT_B "," TEXT_A,
        TEXT_B "=," TEXT_B "," TEXT_B "," HEX_A,
    };
    uint8_t hash[SATCHEL_PIN_BYTES], other[SATCHEL_PIN_BYTES] = {0};
    char text[SATCHEL_PIN_TEXT_BYTES];
    for (size_t i = 0; i < sizeof hash; i++)
        hash[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct satchel_pins pins, kept;
        assert_int_equal(satchel_pins_parse(&pins, spellings[i], NULL), SATCHEL_OK);
        assert_true(satchel_pins_match(&pins, hash));
        assert_false(satchel_pins_match(&pins, other));
        assert_true(satchel_pins_take(&kept, satchel_pins_span(&pins)));
        assert_memory_equal(&kept, &pins, sizeof pins);
    }
    satchel_pin_text(hash, text);
    assert_string_equal(text, TEXT_A "=");
}

static void test_pin__none_matches_nothing(void **state)
{
    (void)state;
    struct satchel_pins pins;
    uint8_t hash[SATCHEL_PIN_BYTES] = {0};
    assert_int_equal(satchel_pins_parse(&pins, NULL, NULL), SATCHEL_OK);
    assert_int_equal(pins.count, 0);
    assert_int_equal(satchel_pins_parse(&pins, "none", NULL), SATCHEL_OK);
    assert_false(satchel_pins_match(&pins, hash));
    assert_true(satchel_pins_take(&pins, satchel_span_of(NULL, 0)));
    assert_int_equal(pins.count, 0);
}

static void test_pin__what_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ",",
        "x",
        "sha256/",
        "sha256//",
        "sha1/" TEXT_A,
        HEX_A "0",
        HEX_A "00",
        TEXT_A "A",
        TEXT_A "==",
        TEXT_A ",",
        "," TEXT_A,
        TEXT_A ",none",
        "none,",
        " " TEXT_A,
        TEXT_A " ",
        "0g0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9", /* bits behind the last byte */
        HEX_A "," HEX_A "," HEX_A "," HEX_A "," HEX_A,
    };
    uint8_t kept[5 * SATCHEL_PIN_BYTES] = {0};
    struct satchel_pins pins;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct satchel_error error = {SATCHEL_OK, 0, ""};
        assert_int_equal(satchel_pins_parse(&pins, texts[i], &error), SATCHEL_INVALID);
        assert_string_not_equal(error.message, "");
    }
    assert_false(satchel_pins_take(&pins, satchel_span_of(kept, 31)));
    assert_false(satchel_pins_take(&pins, satchel_span_of(kept, sizeof kept)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin__is_read_in_any_spelling),
        cmocka_unit_test(test_pin__none_matches_nothing),
        cmocka_unit_test(test_pin__what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
