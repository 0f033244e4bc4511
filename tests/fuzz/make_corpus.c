/* Writes the seeds of every target from the real encoders, so that they can be made again when a
 * format changes:  make_corpus GOLDEN_FOLDER OUT_FOLDER  makes OUT_FOLDER/TARGET/NAME. */
#include "../unit/protocol_support.h"
#include "row_play.h"

#include "replica.h"
#include "segment.h"

#include <satchel/compress.h>
#include <satchel/json_reader.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *out_folder;
static struct satchel_arena arena;

static void must(bool is_done, const char *what)
{
    if (is_done)
        return;
    perror(what);
    exit(1);
}

static void save(const char *target, const char *name, struct satchel_span bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", out_folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", out_folder, target, name);
    FILE *file = fopen(path, "wbe");
    must(file && fwrite(bytes.data, 1, bytes.size, file) == bytes.size && fclose(file) == 0, path);
}

static void save_number(const char *target, const char *name, size_t number,
                        struct satchel_span bytes)
{
    char numbered[64];
    snprintf(numbered, sizeof numbered, "%s-%02zu", name, number);
    save(target, numbered, bytes);
}

static struct satchel_buffer *buffer_new(void)
{
    struct satchel_buffer *buffer = satchel_arena_alloc(&arena, sizeof *buffer);
    must(buffer != NULL, "memory");
    satchel_buffer_init(buffer, SIZE_MAX / 2, NULL);
    return buffer;
}

static struct satchel_span finish(struct satchel_buffer *buffer)
{
    struct satchel_span copy = satchel_arena_copy(&arena, satchel_buffer_span(buffer));
    must(copy.data != NULL, "memory");
    satchel_buffer_deinit(buffer);
    return copy;
}

static void put(struct satchel_buffer *buffer, const void *bytes, size_t size)
{
    must(satchel_buffer_append(buffer, bytes, size) == SATCHEL_OK, "memory");
}

static void put_byte(struct satchel_buffer *buffer, unsigned byte)
{
    uint8_t small = (uint8_t)byte;
    put(buffer, &small, 1);
}

static void put_piece(struct satchel_buffer *buffer, struct satchel_span bytes)
{
    put_byte(buffer, bytes.size & 0xff);
    put_byte(buffer, bytes.size >> 8);
    put(buffer, bytes.data, bytes.size);
}

/* Steps of target_session.c. */
enum { CLIENT = 0, SERVER = 1, LAST = 1, SAY = 3, BY_BYTE = 0x40, NOBODY_READS = 0x80 };

/* ---- messages ---- */

static struct satchel_span message_of(const struct satchel_message *message)
{
    struct satchel_buffer *buffer = buffer_new();
    must(satchel_message_write(buffer, message) == SATCHEL_OK, "message");
    return finish(buffer);
}

static struct satchel_span frame_of(const struct satchel_message *message)
{
    struct satchel_buffer *buffer = buffer_new();
    must(satchel_frame_write(buffer, message_of(message)) == SATCHEL_OK, "frame");
    return finish(buffer);
}

/* Heard by each side as the first thing, in one piece and byte by byte. */
static void make_first_words(const char *name, struct satchel_span frame)
{
    char numbered[300];
    for (unsigned side = 0; side < 2; side++) {
        struct satchel_buffer *script = buffer_new();
        put_byte(script, side);
        put_byte(script, side == 0 ? LAST : LAST | BY_BYTE);
        put_piece(script, frame);
        snprintf(numbered, sizeof numbered, "%s-%u", name, side);
        save("session", numbered, finish(script));
    }
}

static void make_golden(const char *folder, const char *name)
{
    char path[4096];
    struct satchel_buffer *frame = buffer_new();
    unsigned byte;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    must(file != NULL, path);
    put_byte(frame, SATCHEL_COMPRESS_RAW);
    while (fscanf(file, "%2x", &byte) == 1)
        put_byte(frame, byte);
    fclose(file);
    struct satchel_span bytes = finish(frame);
    save("message", name, bytes);
    make_first_words(name, bytes);
}

static void make_messages(const char *golden_folder)
{
    DIR *folder = opendir(golden_folder);
    must(folder != NULL, golden_folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strncmp(entry->d_name, "message_", 8) == 0)
            make_golden(golden_folder, entry->d_name);
    closedir(folder);
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct satchel_message message = sample_message(i);
        save("cursor", sample_name(i), message_of(&message));
        save("message", sample_name(i), frame_of(&message));
    }
    /* One that is worth compressing. */
    static uint8_t sql[3000];
    struct satchel_migration migration = {1, satchel_span_text("001.sql"), {sql, sizeof sql}};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_SCHEMA};
    memset(sql, 'x', sizeof sql);
    message.schema = (struct satchel_message_schema){&migration, 1};
    save("message", "compressed", frame_of(&message));
}

static void make_items(void)
{
    struct satchel_buffer *buffer = buffer_new();
    struct satchel_pack pack;
    static const int64_t integers[] = {0,     127,        128,       255,       256,       65535,
                                       65536, 4294967295, INT64_MAX, -1,        -32,       -33,
                                       -128,  -129,       -32768,    INT32_MIN, INT64_MIN, -32769};
    satchel_pack_init(&pack, buffer);
    satchel_pack_array(&pack, 4 + sizeof integers / sizeof integers[0]);
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
        satchel_pack_integer(&pack, integers[i]);
    satchel_pack_nil(&pack);
    satchel_pack_bool(&pack, true);
    satchel_pack_text(&pack, satchel_span_text(fuzz_schema_sql));
    satchel_pack_binary(&pack, satchel_span_of(fuzz_schema_sql, 300));
    must(pack.status == SATCHEL_OK, "items");
    save("cursor", "items", finish(buffer));
    /* What the encoder never writes: a map, extensions, float 32, nesting to the limit. */
    static const char other[] = "\x82\xa1k\x91\x01\xa1m\x80\xd4\x05z\xd8\x01"
                                "0123456789abcdef\xc7\x03\x09"
                                "abc\xca\x3f\x80\x00\x00\xde\x00\x01\xc2\xc3"
                                "\x91\x91\x91\x91\x91\x91\x91\x91\xc0\xdd\x00\x00\x00\x01\xd0\x80";
    save("cursor", "other", satchel_span_of(other, sizeof other - 1));
}

/* ---- change sets: "SEEN|ROLE|PART|PART...", a part "KIND TABLE{;COLUMN=VALUE}" ---- */

/* Digits are an integer, a number with a point a real, ~ NULL, x'... a blob, all else text. */
static struct satchel_value value_of(const char *text, size_t size)
{
    char number[32] = "";
    if (size < sizeof number)
        memcpy(number, text, size);
    if (size == 1 && *text == '~')
        return satchel_value_null();
    if (size > 2 && memcmp(text, "x'", 2) == 0)
        return satchel_value_blob(satchel_span_of(text + 2, size - 2));
    if (*number && strspn(number, "-0123456789") == size)
        return satchel_value_integer(strtoll(number, NULL, 10));
    if (*number && strspn(number, "-.0123456789") == size)
        return satchel_value_real(strtod(number, NULL));
    return satchel_value_text(satchel_span_of(text, size));
}

static struct satchel_part part_of(const char *text, size_t size)
{
    struct satchel_part part = {.key_count = 1};
    struct satchel_value *key = SATCHEL_ARENA_ARRAY(&arena, struct satchel_value, 1);
    struct satchel_field *fields = SATCHEL_ARENA_ARRAY(&arena, struct satchel_field, 24);
    struct satchel_exception *exception = SATCHEL_ARENA_ARRAY(&arena, struct satchel_exception, 1);
    const char *end = text + size;
    must(key && fields && exception, "memory");
    key[0] = satchel_value_text(satchel_span_text("k"));
    part.kind = *text == 'I'   ? SATCHEL_OP_INSERT
                : *text == 'U' ? SATCHEL_OP_UPDATE
                               : SATCHEL_OP_DELETE;
    part.table = (uint32_t)(text[1] - '0');
    part.key = key;
    part.fields = fields;
    part.exceptions = exception;
    for (const char *at = text + 2; at < end;) {
        const char *next = memchr(at + 1, ';', (size_t)(end - at - 1));
        next = next ? next : end;
        const char *equals = memchr(at, '=', (size_t)(next - at));
        if (!equals) { /* ";!": it was shown nothing of the row */
            exception[0] =
                (struct satchel_exception){SATCHEL_COLUMN_ROW, {.kind = SATCHEL_VIEW_NONE}};
            part.exception_count = 1;
        } else {
            fields[part.field_count].column = (uint32_t)strtoul(at + 1, NULL, 10);
            fields[part.field_count++].value = value_of(equals + 1, (size_t)(next - equals - 1));
        }
        at = next;
    }
    return part;
}

static struct satchel_span body_of(const char *text)
{
    struct satchel_part parts[16];
    struct satchel_position *seen = SATCHEL_ARENA_ARRAY(&arena, struct satchel_position, 1);
    struct satchel_changeset_header header = {.schema = 1};
    struct satchel_buffer *body = buffer_new();
    char *rest;
    must(seen != NULL, "memory");
    *seen = (struct satchel_position){fuzz_id(ROW_DEVICES), strtoull(text, &rest, 10)};
    header.seen = (struct satchel_vector){seen, seen->seq > 0};
    size_t role_size = strcspn(rest + 1, "|");
    header.role = satchel_span_of(rest + 1, role_size);
    for (const char *at = rest + 1 + role_size; *at == '|';) {
        size_t size = strcspn(at + 1, "|");
        must(header.part_count < 16, "parts");
        parts[header.part_count++] = part_of(at + 1, size);
        at += 1 + size;
    }
    must(satchel_changeset_write_header(body, &header) == SATCHEL_OK, text);
    for (uint32_t i = 0; i < header.part_count; i++)
        must(satchel_changeset_write_part(body, &parts[i]) == SATCHEL_OK, text);
    return finish(body);
}

enum { STORY_MAX = 8 };

/* Columns: 1 title @lww, 2 code @immutable, 3 line @append, 4 amount and 5 currency @group, 6 most
 * @max, 7 least @min, 8 one @first, 9 hits @counter, 10 tags @set, 11 extra @map, 12 body @text3,
 * 13 stage @state, 14 why @follows, 15 grade @authority, 16 owner @claim, 17 phone @key, 18 mail
 * @key(weak), 19 sum frozen; of parts 1 thing_id, 2 count frozen(parent), 3 note. Each story's
 * change sets are of three devices in turn; SEEN counts those the author had seen. */
static const char *const stories[][STORY_MAX] = {
    {"0|rep|I1;1=a", "1|rep|U1;1=b", "1|rep|U1;1=c", "3|rep|U1;1=d"},
    {"0|rep|I1;2=c;3=l;4=1;5=EUR", "1|rep|U1;4=2;5=USD", "1|hq|U1;4=3;5=~", "1|rep|U1;4=9;5=x"},
    {"0|rep|I1;6=3;7=2.5;8=x", "1|rep|U1;6=9;7=-1.5;8=y", "1|rep|U1;6=-5;8=z", "2|rep|D1"},
    {"0|rep|I1;9=5;10=[\"b\",\"c\"];11={\"k\":1}", "1|rep|U1;9=-3;10=[[\"d\"],[\"b\"]]",
     "1|rep|U1;9=7;10=[[\"e\"],[\"a\",\"c\"]];11=[{\"k\":[1,2]},[\"z\"]]",
     "2|rep|U1;11=[{\"m\":null},[\"k\"]]", "2|rep|U1;10=[[],[\"d\"]]"},
    {"0|rep|I1;12=one\ntwo\nthree\n", "1|rep|U1;12=one\nTWO\nthree\n",
     "1|rep|U1;12=zero\none\ntwo\n", "1|rep|U1;12=one\n2\nthree\nfour\n"},
    {"0|rep|I1;13=draft;14=~", "1|rep|U1;13=[\"draft\",\"sent\"];14=why", "1|rep|U1;14=because",
     "1|rep|U1;13=[\"draft\",\"won\"];14=~", "1|rep|U1;19=5", "4|rep|U1;19=6"},
    {"0|rep|I1;15=r;16=ana", "1|hq|U1;15=h", "1|rep|U1;15=q;16=ben", "1|hq|U1;16=hq",
     "2|rep|U1;16=cleo"},
    {"0|rep|I1;17=0123 456;18=a@b", "1|rep|U1;17=x'0123 456", "1|rep|U1;17=99;18=c@d"},
    {"0|rep|I1;1=a", "1|rep|D1", "1|rep|U1;1=b", "2|rep|I1;1=again;9=1", "3|rep|D1",
     "0|rep|I1;8=q"},
    {"0|rep|I1;1=a|I2;1=k;2=3", "1|rep|U2;2=4;3=n|U1;1=b", "1|rep|U1;1=c;!|D2", "2|rep|U2;3=m"},
    {"0|rep|D1", "0|rep|U1;1=a", "0||I1", "1|rep|I1;4=8", "9|rep|U1;1=future"},
};

static void make_bodies(void)
{
    size_t number = 0;
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        struct row_play rows[ROW_TABLES];
        struct satchel_buffer *story = buffer_new();
        for (uint32_t table = 0; table < ROW_TABLES; table++)
            row_play_start(&rows[table], table, &arena);
        for (uint32_t j = 0; j < STORY_MAX && stories[i][j]; j++) {
            struct satchel_changeset changeset;
            struct satchel_span body = body_of(stories[i][j]);
            put_piece(story, body);
            must(satchel_changeset_decode(body, &arena, &changeset, NULL) == SATCHEL_OK, "body");
            row_play_merge(rows, &changeset, j);
            if (j % 2 == 1)
                save_number("changeset", "body", number, body);
            struct satchel_buffer *version = buffer_new();
            must(satchel_version_encode(rows[0].row.version, &fuzz_ids, version) == SATCHEL_OK,
                 "version");
            struct satchel_span bytes = finish(version);
            if (j > 0)
                save_number("version", "version", number, bytes);
            number++;
        }
        save_number("row", "story", i, finish(story));
    }
}

/* ---- entries and segments ---- */

static struct satchel_span notes_of(void)
{
    static struct satchel_value key[2], other[2];
    static struct satchel_field fields[2];
    static uint32_t unlike[2] = {0, 4};
    struct satchel_effect effects[] = {{SATCHEL_EFFECT_DELTA, 1, key, 2, fields, 2, NULL},
                                       {SATCHEL_EFFECT_WHOLE, 2, key, 1, fields, 1, NULL},
                                       {SATCHEL_EFFECT_GONE, 3, key, 2, NULL, 0, NULL},
                                       {SATCHEL_EFFECT_ALIAS, 2, key, 2, NULL, 0, other}};
    struct satchel_conflict_note conflict = {.id = fuzz_id(1),
                                             .kind = SATCHEL_CONFLICT_DUPLICATE,
                                             .is_open = true,
                                             .table = 1,
                                             .key = key,
                                             .key_count = 2,
                                             .alias_key = other,
                                             .unit = 2,
                                             .severity = SATCHEL_SEVERITY_REVIEW,
                                             .loser = {77, fuzz_id(2), 7, 1},
                                             .winner = {UINT64_MAX, fuzz_id(3), INT64_MAX, 99},
                                             .loser_user = satchel_span_text("ada"),
                                             .winner_user = satchel_span_text("bob"),
                                             .lost = fields,
                                             .kept = fields,
                                             .column_count = 2};
    struct satchel_quarantine_note quarantined = {4, satchel_span_text("not allowed")};
    const struct satchel_notes notes = {unlike, 2, effects, 4, &conflict, 1, &quarantined, 1};
    struct satchel_buffer *buffer = buffer_new();
    key[0] = satchel_value_text(satchel_span_text("k"));
    key[1] = satchel_value_integer(-5);
    other[0] = satchel_value_text(satchel_span_text("other"));
    other[1] = satchel_value_real(0.5);
    fields[0] = (struct satchel_field){2, satchel_value_blob(satchel_span_of("\0\1", 2))};
    fields[1] = (struct satchel_field){999, satchel_value_null()};
    must(satchel_notes_write(buffer, &notes) == SATCHEL_OK, "notes");
    return finish(buffer);
}

static struct satchel_span positions_of(void)
{
    const struct satchel_position items[] = {{fuzz_id(1), 5}, {fuzz_id(2), 1}};
    const struct satchel_vector positions = {items, 2};
    struct satchel_buffer *buffer = buffer_new();
    must(satchel_vector_pack(buffer, &positions) == SATCHEL_OK, "positions");
    return finish(buffer);
}

static struct satchel_entry entry_of(uint64_t cursor, struct satchel_span body,
                                     struct satchel_span notes)
{
    static const uint8_t secret[SATCHEL_SECRET_BYTES] = "secret of entry";
    return (struct satchel_entry){cursor,
                                  cursor,
                                  fuzz_id((uint32_t)cursor % ROW_DEVICES),
                                  cursor,
                                  UINT64_C(0x018f000000000000) + cursor,
                                  satchel_span_text("ada"),
                                  secret,
                                  body,
                                  notes,
                                  cursor % 2 ? positions_of() : satchel_span_of(NULL, 0),
                                  fuzz_id(77),
                                  UINT64_C(0x0123456789abcdef) * (cursor % 2),
                                  cursor % 3 == 0};
}

static void make_entries(void)
{
    struct satchel_span notes = notes_of(), none = {NULL, 0};
    struct satchel_buffer *both = buffer_new();
    struct satchel_entry entries[] = {entry_of(1, body_of(stories[3][1]), notes),
                                      entry_of(2, none, none),
                                      entry_of(3, body_of(stories[9][0]), none)};
    for (size_t i = 0; i < 3; i++) {
        struct satchel_buffer *one = buffer_new();
        must(satchel_entry_write(one, &entries[i]) == SATCHEL_OK, "entry");
        must(satchel_entry_write(both, &entries[i]) == SATCHEL_OK, "entry");
        save_number("entry", "entry", i, finish(one));
    }
    save("entry", "entries", finish(both));
    save("entry", "notes", notes);
    /* As one is given back, and what that has beside its body. */
    struct satchel_buffer *forwarded = buffer_new();
    struct satchel_entry entry =
        entry_of(5, body_of(stories[3][1]), satchel_notes_quarantined(notes));
    must(satchel_entry_write(forwarded, &entry) == SATCHEL_OK, "entry");
    save("entry", "forwarded", finish(forwarded));
    save("entry", "quarantined", entry.notes);
    save("entry", "positions", entry.positions);
}

static void make_segment(const char *name, uint32_t entry_count, bool is_raw)
{
    struct satchel_segment_maker maker;
    struct satchel_buffer *data = buffer_new(), *summary = buffer_new();
    satchel_segment_maker_init(&maker);
    for (uint32_t i = 0; i < entry_count; i++) {
        const char *const *story = stories[i % (sizeof stories / sizeof stories[0])];
        struct satchel_buffer *stored = buffer_new();
        must(satchel_body_store(body_of(story[0]), stored) == SATCHEL_OK, "body");
        struct satchel_span notes = i % 3 == 0 ? notes_of() : satchel_span_of(NULL, 0);
        struct satchel_log_entry entry = {entry_of(i + 1, finish(stored), notes),
                                          satchel_span_of("\x91\x05", 2)};
        if (i % 4 == 3)
            entry.entry.secret = NULL;
        if (i % 5 == 4)
            entry.entry.body = entry.entry.user = satchel_span_of(NULL, 0);
        must(satchel_segment_add(&maker, &entry) == SATCHEL_OK, "segment");
    }
    must(satchel_segment_write(&maker, data, summary) == SATCHEL_OK, "segment");
    if (is_raw) { /* the items as they stand: what the fuzzer can change byte by byte */
        satchel_buffer_clear(data);
        put_byte(data, SATCHEL_COMPRESS_RAW);
        put(data, maker.items.data, maker.items.size);
    }
    save("segment", name, finish(data));
    satchel_buffer_deinit(summary);
    satchel_segment_maker_deinit(&maker);
}

/* ---- sessions ---- */

static void say_sample(struct satchel_buffer *script, int sample)
{
    put_byte(script, SAY | (unsigned)sample << 2);
}

/* Every other one byte by byte. */
static void hear_sample(struct satchel_buffer *script, int sample)
{
    struct satchel_message message = sample_message(sample);
    put_byte(script, sample % 2 ? LAST | BY_BYTE : LAST);
    put_piece(script, frame_of(&message));
}

/* The samples as protocol_support numbers them. */
enum {
    TIME,
    JOIN,
    HELLO,
    PUSH,
    DIGEST_REQUEST,
    ADMIN,
    TIME_REPLY,
    JOINED,
    WELCOME,
    SCHEMA,
    ENTRIES,
    ACK,
    HEAD,
    DIGESTS,
    ADMIN_RESULT,
    ERROR,
    FORWARD,
    COPY,
    COPIED,
    ROWS_REQUEST,
    FORWARDED,
    ROWS,
    SCOPE,
    WIPED
};

static bool is_of_client(int sample)
{
    return sample_message(sample).kind < SATCHEL_MESSAGE_TIME_REPLY;
}

static struct satchel_buffer *client_script(int request)
{
    struct satchel_buffer *script = buffer_new();
    struct satchel_message reply = {.kind = SATCHEL_MESSAGE_TIME_REPLY};
    put_byte(script, CLIENT);
    say_sample(script, request);
    reply.time_reply.client_ms = 1000; /* as the target's clock stands */
    reply.time_reply.server_ms = 1700000000500;
    for (int i = 0; i < 4; i++) {
        put_byte(script, LAST);
        put_piece(script, frame_of(&reply));
    }
    return script;
}

static void make_script(const char *name, struct satchel_buffer *script, const int *steps,
                        bool is_server)
{
    for (; *steps >= 0; steps++) {
        if (is_of_client(*steps) == is_server)
            hear_sample(script, *steps);
        else
            say_sample(script, *steps);
    }
    save("session", name, finish(script));
}

static void make_sessions(void)
{
    struct satchel_buffer *server;
    static const int attached[] = {WELCOME, ENTRIES,        HEAD,    PUSH, ACK,
                                   SCHEMA,  DIGEST_REQUEST, DIGESTS, -1};
    static const int joined[] = {JOINED, SCHEMA, HELLO, WELCOME, ENTRIES, -1};
    static const int recovered[] = {WELCOME, FORWARD, FORWARDED,    ENTRIES, HEAD,
                                    PUSH,    ACK,     ROWS_REQUEST, ROWS,    -1};
    static const int copied[] = {WELCOME, ENTRIES, COPY, COPIED, -1};
    static const int drained[] = {WELCOME, PUSH, ACK, ENTRIES, HEAD, WIPED, ERROR, -1};
    static const int admin[] = {ADMIN_RESULT, JOIN, ERROR, -1};
    static const int served[] = {TIME, HELLO, WELCOME,        ENTRIES, HEAD, PUSH,
                                 ACK,  TIME,  DIGEST_REQUEST, DIGESTS, -1};
    static const int enrolled[] = {TIME, JOIN, JOINED, SCHEMA, ADMIN, ADMIN_RESULT, ERROR, -1};
    make_script("client-attached", client_script(HELLO), attached, false);
    make_script("client-joined", client_script(JOIN), joined, false);
    make_script("client-recovered", client_script(HELLO), recovered, false);
    make_script("client-copied", client_script(HELLO), copied, false);
    make_script("client-drained", client_script(HELLO), drained, false);
    make_script("client-admin", client_script(ADMIN), admin, false);
    for (int i = 0; i < 2; i++) {
        server = buffer_new();
        put_byte(server, SERVER);
        hear_sample(server, HELLO);
        make_script(i == 0 ? "server-recovered" : "server-copied", server,
                    i == 0 ? recovered : copied, true);
    }
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"server-attached", "server-enrolled", "server-split"};
        server = buffer_new();
        put_byte(server, SERVER);
        if (i == 2) { /* a HELLO in two pieces, after a while; then silence */
            struct satchel_message hello = sample_message(HELLO);
            struct satchel_span frame = frame_of(&hello);
            put(server, "\2\x10\0", 3);
            put_byte(server, 0);
            put_piece(server, satchel_span_of(frame.data, 10));
            put_byte(server, NOBODY_READS | LAST);
            put_piece(server, satchel_span_of(frame.data + 10, frame.size - 10));
            put(server, "\2\xff\xff", 3);
        }
        make_script(names[i], server, i == 1 ? enrolled : served + (i == 2 ? 2 : 0), true);
    }
}

/* ---- texts ---- */

static const char *const schemas[] = {
    fuzz_schema_sql,
    "-- @table local\nCREATE TABLE draft(a, b);\n-- @table scope=all delete=forbid append\n"
    "CREATE TABLE event(id TEXT PRIMARY KEY, at INTEGER NOT NULL, -- @append\n what TEXT);\n",
    "-- @table scope=all delete=delete_wins\nCREATE TABLE \"a b\"([x y] TEXT, `q` INT, k TEXT,\n"
    " PRIMARY KEY(k, [x y])) WITHOUT ROWID, STRICT;\nCREATE INDEX i ON \"a b\"(q);\n",
    "-- @table scope=all delete=restrict\nCREATE TABLE n(id INTEGER PRIMARY KEY, -- @id(assigned)\n"
    " no TEXT, -- @server\n at TEXT DEFAULT CURRENT_TIMESTAMP CHECK(length(at) < 40),\n"
    " up INTEGER REFERENCES n(id)); -- trailing\n/* block\n */ INSERT INTO n(id, no)\n"
    " VALUES(1, 'a;b'), (2, 'it''s');\nCREATE VIEW v AS SELECT * FROM n;\n",
    "-- @table scope=all delete=edit_wins\nCREATE TABLE t(id TEXT PRIMARY KEY, a, b);\n"
    "-- @table local\nCREATE VIRTUAL TABLE f USING fts5(body);\n"
    "CREATE TRIGGER g AFTER UPDATE OF a ON t WHEN NOT satchel_applying() BEGIN\n"
    " UPDATE t SET b = new.a WHERE id = new.id; INSERT INTO f VALUES(new.a); END;\n",
    "CREATE TABLE broken(id TEXT, 'unterminated",
    "-- @table scope=all delete=edit_wins\nCREATE TABLE g(id TEXT PRIMARY KEY,\n"
    " k TEXT NOT NULL DEFAULT '' COLLATE NOCASE UNIQUE, -- @key\n t TEXT, -- @lww @ref(k)\n"
    " c GENERATED ALWAYS AS (k || t) VIRTUAL);\n-- @column g.c @lww\n",
};

static const char *const migrations[] = {
    "-- @table scope=all delete=edit_wins\nCREATE TABLE t(id TEXT PRIMARY KEY, a);\n",
    "ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 3; -- @counter\nCREATE INDEX j ON t(b);\n",
    "-- @column t.a @max\n-- @table scope=all delete=forbid\nCREATE TABLE u(id TEXT PRIMARY "
    "KEY);\n",
};

static const char *const documents[] = {
    "[]",
    "{}",
    "null",
    " [ 1, -0.5e+10 , true,false , null ] ",
    "{\"b\":1,\"a\":[{}],\"b\":\"last\"}",
    "\"\\u00e9\\ud83d\\ude00\\n\\/\\\"\\\\\\u0007\"",
    "\"\\ud83d\"",
    "[\"\xe5\xae\xa2\xe6\x88\xb7\",\"\xf0\x9f\x98\x80\",\"\xff\"]",
    "[[\"added\",\"b\"],[\"removed\"]]",
    "[{\"key\":{\"x\":[1,2]}},[\"gone\"]]",
    "[\"draft\",\"sent\"]",
    "[null,\"sent\"]",
    "1e999",
    "-",
    "01",
};

static const char *const urls[] = {"ws://127.0.0.1:7447",
                                   "wss://head.office.example/sync?x=1#y",
                                   "ws://[::1]:80/a/b",
                                   "ws://[::1",
                                   "ws://[::1]x",
                                   "ws://host:0",
                                   "ws://host:65536/",
                                   "ws://user@host",
                                   "ws://",
                                   "http://host",
                                   "ws://host:00080?"};

/* COLUMN, then what is there, the operation, what is wanted; columns as in `stories`. */
static const char *const operations[][4] = {
    {"1", "a", "b", "c"},
    {"4", "7", "9", "~"},
    {"9", "100", "-3", "9223372036854775807"},
    {"9", "-9223372036854775807", "-5", "5"},
    {"10", "[\"a\",\"b\"]", "[[\"c\"],[\"a\"]]", "[3, 1,\"b\"]"},
    {"10", "~", "[[\"c\",{\"x\":1}],[]]", "~"},
    {"11", "{\"k\":1,\"z\":[]}", "[{\"k\":2},[\"z\"]]", "{\"z\":1, \"a\":null}"},
    {"11", "text", "[{},[]]", "{}"},
    {"12", "one\ntwo", "one\n2", "1\ntwo\n"},
    {"13", "draft", "[\"draft\",\"sent\"]", "won"},
    {"13", "won", "[null,\"lost\"]", "draft"},
    {"13", "x", "[\"x\",null]", "~"},
    {"17", "  (0123) 45-67 ", "x'0123", "\xef\xbc\x91\xef\xbc\xa1 b"},
    {"18", "5551234", "+1 555", "12345"},
    {"138", "[]", "[\"q\"]", "[]"},
    {"141", "draft", "sent", "sent"},
};

static void make_texts(void)
{
    struct satchel_buffer *three = buffer_new();
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        save_number("schema", "schema", i, satchel_span_text(schemas[i]));
    for (size_t i = 0; i < 3; i++)
        put(three, migrations[i], strlen(migrations[i]) + (i < 2));
    save("schema", "migrations", finish(three));
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
        save_number("json", "document", i, satchel_span_text(documents[i]));
    char deep[2 * SATCHEL_JSON_DEPTH_MAX];
    memset(deep, '[', sizeof deep / 2);
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    save("json", "deep", satchel_span_of(deep, sizeof deep));
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        save_number("url", "url", i, satchel_span_text(urls[i]));
}

/* As target_jwt.c reads them. */
static void make_jwts(void)
{
    static const struct {
        uint8_t kind;
        const char *text;
    } jwts[] = {
        {0, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbmEiLCJhdWQiOlsieCIsImNybSJdLCJleHAi"
            "OjIwMDAsIm5iZiI6OTAwLjV9.8Qj2LdC3RxbAV84gpQmHfc6ObFZLiR4QoAD15rVDSs4"},
        {0, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.AAAA"},
        {1, "{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000}"},
        {1, "{\"sub\":\"b\\u00e4\",\"aud\":[1,[\"crm\"],\"crm\"],\"exp\":1e3,\"nbf\":-0.5}"},
        {1, "{\"exp\":1e999}"},
        {2, "{\"sub\":\"ana\",\"aud\":\"crm\",\"exp\":2000}"},
    };
    for (size_t i = 0; i < sizeof jwts / sizeof jwts[0]; i++) {
        struct satchel_buffer *buffer = buffer_new();
        put_byte(buffer, jwts[i].kind);
        if (jwts[i].kind == 2)
            put_piece(buffer, satchel_span_text("{\"alg\":\"HS256\"}"));
        put(buffer, jwts[i].text, strlen(jwts[i].text));
        save_number("jwt", "jwt", i, finish(buffer));
    }
}

static void make_operations(void)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        struct satchel_buffer *buffer = buffer_new();
        struct satchel_pack pack;
        put_byte(buffer, (unsigned)strtoul(operations[i][0], NULL, 10));
        satchel_pack_init(&pack, buffer);
        for (size_t j = 1; j < 4; j++) {
            struct satchel_value value = value_of(operations[i][j], strlen(operations[i][j]));
            satchel_pack_value(&pack, &value);
        }
        must(pack.status == SATCHEL_OK, "operation");
        save_number("operation", "operation", i, finish(buffer));
    }
}

static void make_bases(void)
{
    enum { COLUMNS = 4 };
    struct satchel_position positions[] = {{fuzz_id(1), 7}, {fuzz_id(2), INT64_MAX}};
    struct satchel_exception views[] = {{2, {SATCHEL_VIEW_SEEN, {positions, 2}}},
                                        {SATCHEL_COLUMN_ROW, {SATCHEL_VIEW_NONE, {NULL, 0}}}};
    struct satchel_value values[COLUMNS] = {satchel_value_text(satchel_span_text("k")),
                                            satchel_value_null(), satchel_value_real(-0.0),
                                            satchel_value_blob(satchel_span_of("\0\1", 2))};
    const struct satchel_base bases[] = {{true, values, COLUMNS, views, 2},
                                         {false, NULL, 0, views, 1},
                                         {true, values, COLUMNS, NULL, 0}};
    for (size_t i = 0; i < 3; i++) {
        struct satchel_buffer *buffer = buffer_new();
        put_byte(buffer, COLUMNS);
        must(satchel_base_encode(buffer, &bases[i], COLUMNS) == SATCHEL_OK, "base");
        save_number("base", "base", i, finish(buffer));
    }
    struct satchel_buffer *buffer = buffer_new();
    struct satchel_pack pack;
    const struct satchel_vector vector = {positions, 2};
    put_byte(buffer, COLUMNS);
    satchel_pack_init(&pack, buffer);
    satchel_pack_vector(&pack, &vector);
    must(pack.status == SATCHEL_OK, "vector");
    save("base", "vector", finish(buffer));
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 3) {
        fprintf(stderr, "usage: %s GOLDEN_FOLDER OUT_FOLDER\n", arguments[0]);
        return 2;
    }
    out_folder = arguments[2];
    mkdir(out_folder, 0777);
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    make_messages(arguments[1]);
    make_items();
    make_bodies();
    make_entries();
    make_segment("one", 1, true);
    make_segment("raw", 6, true);
    make_segment("compressed", 12, false);
    make_sessions();
    make_texts();
    make_jwts();
    make_operations();
    make_bases();
    satchel_arena_deinit(&arena);
    return 0;
}
