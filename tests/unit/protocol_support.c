/* Owns the shared parts of the protocol's tests. */
#include "protocol_support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- randomness ---- */

uint64_t random_next(struct random_source *source)
{
    uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t random_below(struct random_source *source, uint32_t below)
{
    return (uint32_t)((random_next(source) >> 32) * below >> 32);
}

struct random_source random_seeded(const char *test_name)
{
    const char *text = getenv("SATCHEL_TEST_SEED");
    struct random_source source = {text ? strtoull(text, NULL, 0) : UINT64_C(20240229)};
    printf("%s: SATCHEL_TEST_SEED=%" PRIu64 "\n", test_name, source.state);
    return source;
}

/* ---- memory ---- */

struct block {
    size_t size;
    size_t padding; /* keeps the caller's bytes aligned */
};

static void *counting_resize(void *context, void *memory, size_t size_bytes)
{
    struct counting_allocator *counting = context;
    struct block *block = memory ? (struct block *)memory - 1 : NULL;
    if (size_bytes == 0) {
        if (block) {
            counting->used_bytes -= block->size;
            counting->blocks--;
        }
        free(block);
        return NULL;
    }
    counting->calls++;
    if (counting->fail_at && counting->calls >= counting->fail_at)
        return NULL;
    size_t size_before = block ? block->size : 0;
    struct block *moved = realloc(block, sizeof *moved + size_bytes);
    if (!moved)
        return NULL;
    moved->size = size_bytes;
    counting->used_bytes += size_bytes - size_before;
    counting->blocks += block ? 0 : 1;
    if (counting->used_bytes > counting->peak_bytes)
        counting->peak_bytes = counting->used_bytes;
    return moved + 1;
}

void counting_allocator_init(struct counting_allocator *counting)
{
    memset(counting, 0, sizeof *counting);
    counting->allocator.resize = counting_resize;
    counting->allocator.context = counting;
}

/* ---- samples ---- */

struct satchel_id sample_id(uint8_t fill)
{
    struct satchel_id id;
    for (size_t i = 0; i < sizeof id.bytes; i++)
        id.bytes[i] = (uint8_t)(fill + i);
    return id;
}

static const uint8_t *ramp(void)
{
    static uint8_t bytes[512];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    return bytes;
}

static struct satchel_span bytes_from(uint8_t first, size_t size)
{
    return satchel_span_of(ramp() + first, size);
}

static struct satchel_vector sample_vector(void)
{
    static struct satchel_position items[2];
    items[0] = (struct satchel_position){sample_id(0x10), 7};
    items[1] = (struct satchel_position){sample_id(0x20), UINT64_C(1) << 40};
    return (struct satchel_vector){items, 2};
}

static struct satchel_message sample_request(int index)
{
    static struct satchel_push_item items[2];
    static struct satchel_value arguments[3];
    static struct satchel_table_repair repairs[1];
    struct satchel_message m = {.kind = (enum satchel_message_kind)0};
    switch (index) {
    case 0:
        m.kind = SATCHEL_MESSAGE_TIME;
        m.time.client_ms = -123456789;
        break;
    case 1:
        m.kind = SATCHEL_MESSAGE_JOIN;
        m.join = (struct satchel_message_join){SATCHEL_PROTOCOL_VERSION,
                                               satchel_span_text("crm"),
                                               satchel_span_text("K7QX-93MD"),
                                               sample_id(0x40),
                                               bytes_from(0x80, SATCHEL_TOKEN_BYTES),
                                               satchel_span_text("e30.e30.c2ln")};
        break;
    case 2:
        m.kind = SATCHEL_MESSAGE_HELLO;
        m.hello = (struct satchel_message_hello){SATCHEL_PROTOCOL_VERSION,
                                                 satchel_span_text("crm"),
                                                 sample_id(0x30),
                                                 sample_id(0x40),
                                                 bytes_from(0x80, SATCHEL_TOKEN_BYTES),
                                                 sample_id(0x10),
                                                 1000,
                                                 sample_vector(),
                                                 12,
                                                 2,
                                                 -10800000,
                                                 satchel_span_text("satchel 0.1.0"),
                                                 satchel_span_text("ada"),
                                                 sample_id(0x50),
                                                 sample_id(0x60),
                                                 7,
                                                 sample_vector(),
                                                 998,
                                                 3,
                                                 1,
                                                 1};
        break;
    case 3:
        m.kind = SATCHEL_MESSAGE_PUSH;
        items[0] = (struct satchel_push_item){13, UINT64_C(0x018f000000000001), ramp() + 1,
                                              bytes_from(0, 40)};
        items[1] = (struct satchel_push_item){14, UINT64_MAX, ramp() + 2, bytes_from(0, 0)};
        m.push = (struct satchel_message_push){items, 2};
        break;
    case 4:
        m.kind = SATCHEL_MESSAGE_DIGEST_REQUEST;
        repairs[0] = (struct satchel_table_repair){2, 3};
        m.digest_request = (struct satchel_message_digest_request){repairs, 1};
        break;
    default:
        m.kind = SATCHEL_MESSAGE_ADMIN;
        arguments[0] = satchel_value_text(satchel_span_text("user.add"));
        arguments[1] = satchel_value_null();
        arguments[2] = satchel_value_text(satchel_span_text("M\xc3\xbcller"));
        m.admin = (struct satchel_message_admin){bytes_from(0x60, 32), arguments, 3};
        break;
    }
    return m;
}

static struct satchel_message sample_state(int index)
{
    static struct satchel_migration migrations[2];
    struct satchel_message m = {.kind = (enum satchel_message_kind)0};
    switch (index) {
    case 6:
        m.kind = SATCHEL_MESSAGE_TIME_REPLY;
        m.time_reply.client_ms = INT64_MIN;
        m.time_reply.server_ms = 1700000000000;
        break;
    case 7:
        m.kind = SATCHEL_MESSAGE_JOINED;
        m.joined =
            (struct satchel_message_joined){satchel_span_text("ada"), satchel_span_text("rep"),
                                            sample_id(0x30), sample_id(0x50), 3};
        break;
    case 8:
        m.kind = SATCHEL_MESSAGE_WELCOME;
        m.welcome = (struct satchel_message_welcome){sample_id(0x10),
                                                     sample_vector(),
                                                     1002,
                                                     12,
                                                     2,
                                                     satchel_span_text("ada"),
                                                     satchel_span_text("rep"),
                                                     999,
                                                     sample_vector(),
                                                     1,
                                                     1};
        break;
    default:
        m.kind = SATCHEL_MESSAGE_SCHEMA;
        migrations[0] = (struct satchel_migration){1, satchel_span_text("001_init.sql"),
                                                   satchel_span_text("CREATE TABLE t (id);\n")};
        migrations[1] =
            (struct satchel_migration){2, satchel_span_text("002_more.sql"), bytes_from(0, 0)};
        m.schema = (struct satchel_message_schema){migrations, 2};
        break;
    }
    return m;
}

static struct satchel_message sample_entries(void)
{
    static struct satchel_entry entries[2];
    struct satchel_message m = {.kind = SATCHEL_MESSAGE_ENTRIES};
    entries[0] = (struct satchel_entry){1001,
                                        501,
                                        sample_id(0x41),
                                        9,
                                        UINT64_C(0x018f000000010000),
                                        satchel_span_text("bob"),
                                        ramp() + 3,
                                        bytes_from(0, 30),
                                        bytes_from(0, 5),
                                        bytes_from(0, 20),
                                        sample_id(0x90),
                                        UINT64_C(0xfedcba9876543210),
                                        true};
    entries[1] = (struct satchel_entry){1002,
                                        0,
                                        sample_id(0x40),
                                        12,
                                        UINT64_C(0x018f000000020000),
                                        satchel_span_text("ada"),
                                        ramp() + 4,
                                        bytes_from(0, 0),
                                        bytes_from(0, 0),
                                        bytes_from(0, 0),
                                        sample_id(0),
                                        0,
                                        false};
    m.entries = (struct satchel_message_entries){entries, 2};
    return m;
}

static struct satchel_message sample_result(void)
{
    static struct satchel_span columns[2];
    static struct satchel_value values[6];
    struct satchel_message m = {.kind = SATCHEL_MESSAGE_ADMIN_RESULT};
    columns[0] = satchel_span_text("name");
    columns[1] = satchel_span_text("n");
    values[0] = satchel_value_text(satchel_span_text(""));
    values[1] = satchel_value_integer(INT64_MIN);
    values[2] = satchel_value_null();
    values[3] = satchel_value_real(-0.0);
    values[4] = satchel_value_blob(bytes_from(0, 3));
    values[5] = satchel_value_integer(INT64_MAX);
    m.admin_result = (struct satchel_message_admin_result){satchel_span_text("two columns"),
                                                           columns, 2, values, 3};
    return m;
}

static struct satchel_message sample_answer(int index)
{
    static struct satchel_table_digest digests[2];
    struct satchel_message m = {.kind = (enum satchel_message_kind)0};
    switch (index) {
    case 11:
        m.kind = SATCHEL_MESSAGE_ACK;
        m.ack.number = 14;
        break;
    case 12:
        m.kind = SATCHEL_MESSAGE_HEAD;
        m.head = (struct satchel_message_head){1002, sample_vector(), sample_id(0x91)};
        break;
    case 13:
        m.kind = SATCHEL_MESSAGE_DIGESTS;
        digests[0] = (struct satchel_table_digest){1, 0, sample_id(0)};
        digests[1] = (struct satchel_table_digest){2, 8800, sample_id(0x77)};
        m.digests = (struct satchel_message_digests){1002, digests, 2, 2, 1};
        break;
    default:
        m.kind = SATCHEL_MESSAGE_ERROR;
        m.error.status = SATCHEL_DENIED;
        m.error.text = satchel_span_text("the invite has been used");
        break;
    }
    return m;
}

/* What a device and a node say to each other when one of them has lost something, or is two. */
static struct satchel_message sample_recovery(int index)
{
    static struct satchel_row_request rows[2];
    struct satchel_message m = {.kind = (enum satchel_message_kind)0};
    switch (index) {
    case 16:
        m = sample_entries();
        m.kind = SATCHEL_MESSAGE_FORWARD;
        m.forward = (struct satchel_message_forward){sample_id(0x10), m.entries.entries, 2};
        break;
    case 17:
        m.kind = SATCHEL_MESSAGE_COPY;
        m.copy = (struct satchel_message_copy){13, bytes_from(0x20, SATCHEL_HASH_BYTES),
                                               bytes_from(0x80, SATCHEL_TOKEN_BYTES)};
        break;
    case 18:
        m.kind = SATCHEL_MESSAGE_COPIED;
        m.copied = (struct satchel_message_copied){sample_id(0x42), sample_id(0x51), 4};
        break;
    case 19:
        m.kind = SATCHEL_MESSAGE_ROWS_REQUEST;
        rows[0].name = bytes_from(0, 9);
        rows[1].name = bytes_from(9, 0);
        m.rows_request = (struct satchel_message_rows_request){rows, 2};
        break;
    case 20:
        m.kind = SATCHEL_MESSAGE_FORWARDED;
        m.forwarded = (struct satchel_message_forwarded){2, 1};
        break;
    case 23: m.kind = SATCHEL_MESSAGE_WIPED; break;
    case 24:
        m.kind = SATCHEL_MESSAGE_ROTATE;
        m.rotate.token = bytes_from(0x80, SATCHEL_TOKEN_BYTES);
        break;
    case 25:
        m.kind = SATCHEL_MESSAGE_ROTATED;
        m.rotated = (struct satchel_message_rotated){4, sample_id(0x51)};
        break;
    case 22:
        m = sample_entries();
        m.kind = SATCHEL_MESSAGE_SCOPE;
        m.scope = (struct satchel_message_scope){1003, bytes_from(0, 33), m.entries.entries, 2};
        break;
    default:
        m.kind = SATCHEL_MESSAGE_ROWS;
        m.rows = (struct satchel_message_rows){1002, 2, bytes_from(0, 33)};
        break;
    }
    return m;
}

/* A table that differs is looked through. */
static struct satchel_message sample_range(int index)
{
    static struct satchel_range_digest ranges[2];
    struct satchel_message m = {.kind = SATCHEL_MESSAGE_RANGES_REQUEST};
    if (index == 26) {
        m.ranges_request =
            (struct satchel_message_ranges_request){2, bytes_from(0, 0), bytes_from(1, 9), 256};
        return m;
    }
    m.kind = SATCHEL_MESSAGE_RANGES;
    ranges[0] = (struct satchel_range_digest){bytes_from(1, 9), 256, sample_id(0x78)};
    ranges[1] = (struct satchel_range_digest){bytes_from(0, 0), 0, sample_id(0)};
    m.ranges = (struct satchel_message_ranges){1002, 2, ranges, 2};
    return m;
}

/* What a new device is given in place of the log. */
static struct satchel_message sample_snapshot(int index)
{
    static struct satchel_position vector[1];
    struct satchel_message m = {.kind = SATCHEL_MESSAGE_SNAPSHOT_REQUEST};
    if (index == 28) {
        m.snapshot_request = (struct satchel_message_snapshot_request){sample_id(0x79), 3};
        return m;
    }
    if (index == 30) {
        m.kind = SATCHEL_MESSAGE_PAST_REQUEST;
        m.past_request = (struct satchel_message_past_request){100, 1002};
        return m;
    }
    if (index == 31) {
        struct satchel_message entries = sample_entries();
        m.kind = SATCHEL_MESSAGE_PAST;
        m.past = (struct satchel_message_past){1001, 1002, 2, entries.entries.entries,
                                               entries.entries.entry_count};
        return m;
    }
    m.kind = SATCHEL_MESSAGE_SNAPSHOT;
    vector[0] = (struct satchel_position){sample_id(0x20), 900};
    m.snapshot = (struct satchel_message_snapshot){.snapshot = sample_id(0x79),
                                                   .cursor = 1002,
                                                   .vector = {vector, 1},
                                                   .receipt = sample_id(0x7a),
                                                   .stamp = 17,
                                                   .schema = 2,
                                                   .row_count = 12345,
                                                   .page = 3,
                                                   .page_count = 4,
                                                   .notes = bytes_from(0, 33)};
    return m;
}

struct satchel_message sample_message(int index)
{
    if (index >= 28)
        return sample_snapshot(index);
    if (index >= 26)
        return sample_range(index);
    if (index >= 16)
        return sample_recovery(index);
    if (index < 6)
        return sample_request(index);
    if (index < 10)
        return sample_state(index);
    if (index == 10)
        return sample_entries();
    return index == 14 ? sample_result() : sample_answer(index);
}

const char *sample_name(int index)
{
    static const char *const names[SAMPLE_COUNT] = {"time",
                                                    "join",
                                                    "hello",
                                                    "push",
                                                    "digest_request",
                                                    "admin",
                                                    "time_reply",
                                                    "joined",
                                                    "welcome",
                                                    "schema",
                                                    "entries",
                                                    "ack",
                                                    "head",
                                                    "digests",
                                                    "admin_result",
                                                    "error",
                                                    "forward",
                                                    "copy",
                                                    "copied",
                                                    "rows_request",
                                                    "forwarded",
                                                    "rows",
                                                    "scope",
                                                    "wiped",
                                                    "rotate",
                                                    "rotated",
                                                    "ranges_request",
                                                    "ranges",
                                                    "snapshot_request",
                                                    "snapshot",
                                                    "past_request",
                                                    "past"};
    return names[index];
}

/* ---- equality ---- */

static bool vectors_equal(const struct satchel_vector *a, const struct satchel_vector *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = satchel_id_equal(&a->items[i].node, &b->items[i].node) &&
                a->items[i].seq == b->items[i].seq;
    return equal;
}

static bool snapshots_equal(const struct satchel_message_snapshot *a,
                            const struct satchel_message_snapshot *b)
{
    return satchel_id_equal(&a->snapshot, &b->snapshot) && a->cursor == b->cursor &&
           vectors_equal(&a->vector, &b->vector) && satchel_id_equal(&a->receipt, &b->receipt) &&
           a->stamp == b->stamp && a->schema == b->schema && a->row_count == b->row_count &&
           a->page == b->page && a->page_count == b->page_count &&
           satchel_span_equal(a->notes, b->notes);
}

static bool hellos_equal(const struct satchel_message_hello *a,
                         const struct satchel_message_hello *b)
{
    return a->protocol == b->protocol && satchel_span_equal(a->workspace, b->workspace) &&
           satchel_id_equal(&a->workspace_id, &b->workspace_id) &&
           satchel_id_equal(&a->device, &b->device) && satchel_span_equal(a->token, b->token) &&
           satchel_id_equal(&a->node, &b->node) && a->cursor == b->cursor &&
           vectors_equal(&a->lineage, &b->lineage) && a->last_number == b->last_number &&
           a->schema == b->schema && a->clock_error_ms == b->clock_error_ms &&
           satchel_span_equal(a->software, b->software) && satchel_span_equal(a->user, b->user) &&
           satchel_id_equal(&a->receipt, &b->receipt) && satchel_id_equal(&a->parent, &b->parent) &&
           a->parent_number == b->parent_number && vectors_equal(&a->receipts, &b->receipts) &&
           a->complete == b->complete && a->token_number == b->token_number &&
           a->drain == b->drain && a->wants_snapshot == b->wants_snapshot;
}

static bool pushes_equal(const struct satchel_message_push *a, const struct satchel_message_push *b)
{
    bool equal = a->item_count == b->item_count;
    for (uint32_t i = 0; equal && i < a->item_count; i++)
        equal = a->items[i].number == b->items[i].number &&
                a->items[i].stamp == b->items[i].stamp &&
                memcmp(a->items[i].secret, b->items[i].secret, SATCHEL_SECRET_BYTES) == 0 &&
                satchel_span_equal(a->items[i].body, b->items[i].body);
    return equal;
}

static bool entries_equal(const struct satchel_entry *a, uint32_t a_count,
                          const struct satchel_entry *b, uint32_t b_count)
{
    bool equal = a_count == b_count;
    for (uint32_t i = 0; equal && i < a_count; i++) {
        const struct satchel_entry *x = &a[i];
        const struct satchel_entry *y = &b[i];
        equal = x->cursor == y->cursor && x->seq == y->seq &&
                satchel_id_equal(&x->device, &y->device) && x->number == y->number &&
                x->stamp == y->stamp && satchel_span_equal(x->user, y->user) &&
                memcmp(x->secret, y->secret, SATCHEL_SECRET_BYTES) == 0 &&
                satchel_span_equal(x->body, y->body) && satchel_span_equal(x->notes, y->notes) &&
                satchel_span_equal(x->positions, y->positions) &&
                satchel_id_equal(&x->receipt, &y->receipt) && x->previous == y->previous &&
                x->is_cut == y->is_cut;
    }
    return equal;
}

static bool row_requests_equal(const struct satchel_message_rows_request *a,
                               const struct satchel_message_rows_request *b)
{
    bool equal = a->row_count == b->row_count;
    for (uint32_t i = 0; equal && i < a->row_count; i++)
        equal = satchel_span_equal(a->rows[i].name, b->rows[i].name);
    return equal;
}

static bool schemas_equal(const struct satchel_message_schema *a,
                          const struct satchel_message_schema *b)
{
    bool equal = a->migration_count == b->migration_count;
    for (uint32_t i = 0; equal && i < a->migration_count; i++)
        equal = a->migrations[i].number == b->migrations[i].number &&
                satchel_span_equal(a->migrations[i].name, b->migrations[i].name) &&
                satchel_span_equal(a->migrations[i].sql, b->migrations[i].sql);
    return equal;
}

static bool digests_equal(const struct satchel_message_digests *a,
                          const struct satchel_message_digests *b)
{
    bool equal = a->cursor == b->cursor && a->table_count == b->table_count &&
                 a->schema == b->schema && a->is_settled == b->is_settled;
    for (uint32_t i = 0; equal && i < a->table_count; i++)
        equal = a->tables[i].table == b->tables[i].table &&
                a->tables[i].row_count == b->tables[i].row_count &&
                satchel_id_equal(&a->tables[i].digest, &b->tables[i].digest);
    return equal;
}

static bool repairs_equal(const struct satchel_message_digest_request *a,
                          const struct satchel_message_digest_request *b)
{
    bool equal = a->repair_count == b->repair_count;
    for (uint32_t i = 0; equal && i < a->repair_count; i++)
        equal = a->repairs[i].table == b->repairs[i].table &&
                a->repairs[i].row_count == b->repairs[i].row_count;
    return equal;
}

static bool ranges_equal(const struct satchel_message_ranges *a,
                         const struct satchel_message_ranges *b)
{
    bool equal =
        a->cursor == b->cursor && a->schema == b->schema && a->range_count == b->range_count;
    for (uint32_t i = 0; equal && i < a->range_count; i++)
        equal = satchel_span_equal(a->ranges[i].last, b->ranges[i].last) &&
                a->ranges[i].row_count == b->ranges[i].row_count &&
                satchel_id_equal(&a->ranges[i].digest, &b->ranges[i].digest);
    return equal;
}

static bool values_equal(const struct satchel_value *a, const struct satchel_value *b, size_t count)
{
    bool equal = true;
    for (size_t i = 0; equal && i < count; i++)
        equal = satchel_value_equal(&a[i], &b[i]);
    return equal;
}

static bool results_equal(const struct satchel_message_admin_result *a,
                          const struct satchel_message_admin_result *b)
{
    bool equal = satchel_span_equal(a->text, b->text) && a->column_count == b->column_count &&
                 a->row_count == b->row_count;
    for (uint32_t i = 0; equal && i < a->column_count; i++)
        equal = satchel_span_equal(a->columns[i], b->columns[i]);
    return equal && values_equal(a->values, b->values, (size_t)a->row_count * a->column_count);
}

bool messages_equal(const struct satchel_message *a, const struct satchel_message *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case SATCHEL_MESSAGE_TIME: return a->time.client_ms == b->time.client_ms;
    case SATCHEL_MESSAGE_JOIN:
        return a->join.protocol == b->join.protocol &&
               satchel_span_equal(a->join.workspace, b->join.workspace) &&
               satchel_span_equal(a->join.invite, b->join.invite) &&
               satchel_id_equal(&a->join.device, &b->join.device) &&
               satchel_span_equal(a->join.token, b->join.token) &&
               satchel_span_equal(a->join.jwt, b->join.jwt);
    case SATCHEL_MESSAGE_HELLO: return hellos_equal(&a->hello, &b->hello);
    case SATCHEL_MESSAGE_PUSH: return pushes_equal(&a->push, &b->push);
    case SATCHEL_MESSAGE_DIGEST_REQUEST:
        return repairs_equal(&a->digest_request, &b->digest_request);
    case SATCHEL_MESSAGE_WIPED: return true;
    case SATCHEL_MESSAGE_RANGES_REQUEST:
        return a->ranges_request.table == b->ranges_request.table &&
               satchel_span_equal(a->ranges_request.after, b->ranges_request.after) &&
               satchel_span_equal(a->ranges_request.until, b->ranges_request.until) &&
               a->ranges_request.row_count == b->ranges_request.row_count;
    case SATCHEL_MESSAGE_RANGES: return ranges_equal(&a->ranges, &b->ranges);
    case SATCHEL_MESSAGE_SNAPSHOT_REQUEST:
        return satchel_id_equal(&a->snapshot_request.snapshot, &b->snapshot_request.snapshot) &&
               a->snapshot_request.page == b->snapshot_request.page;
    case SATCHEL_MESSAGE_SNAPSHOT: return snapshots_equal(&a->snapshot, &b->snapshot);
    case SATCHEL_MESSAGE_PAST_REQUEST:
        return a->past_request.after == b->past_request.after &&
               a->past_request.until == b->past_request.until;
    case SATCHEL_MESSAGE_PAST:
        return a->past.reached == b->past.reached && a->past.head == b->past.head &&
               a->past.schema == b->past.schema &&
               entries_equal(a->past.entries, a->past.entry_count, b->past.entries,
                             b->past.entry_count);
    case SATCHEL_MESSAGE_ADMIN:
        return satchel_span_equal(a->admin.token, b->admin.token) &&
               a->admin.argument_count == b->admin.argument_count &&
               values_equal(a->admin.arguments, b->admin.arguments, a->admin.argument_count);
    case SATCHEL_MESSAGE_TIME_REPLY:
        return a->time_reply.client_ms == b->time_reply.client_ms &&
               a->time_reply.server_ms == b->time_reply.server_ms;
    case SATCHEL_MESSAGE_JOINED:
        return satchel_span_equal(a->joined.user, b->joined.user) &&
               satchel_span_equal(a->joined.role, b->joined.role) &&
               satchel_id_equal(&a->joined.workspace, &b->joined.workspace) &&
               satchel_id_equal(&a->joined.receipt, &b->joined.receipt) &&
               a->joined.token_number == b->joined.token_number;
    case SATCHEL_MESSAGE_WELCOME:
        return satchel_id_equal(&a->welcome.node, &b->welcome.node) &&
               vectors_equal(&a->welcome.vector, &b->welcome.vector) &&
               a->welcome.head == b->welcome.head &&
               a->welcome.last_number == b->welcome.last_number &&
               a->welcome.schema == b->welcome.schema &&
               satchel_span_equal(a->welcome.user, b->welcome.user) &&
               satchel_span_equal(a->welcome.role, b->welcome.role) &&
               a->welcome.cursor == b->welcome.cursor &&
               vectors_equal(&a->welcome.lineage, &b->welcome.lineage) &&
               a->welcome.is_drained == b->welcome.is_drained &&
               a->welcome.has_snapshot == b->welcome.has_snapshot;
    case SATCHEL_MESSAGE_SCHEMA: return schemas_equal(&a->schema, &b->schema);
    case SATCHEL_MESSAGE_ENTRIES:
        return entries_equal(a->entries.entries, a->entries.entry_count, b->entries.entries,
                             b->entries.entry_count);
    case SATCHEL_MESSAGE_FORWARD:
        return satchel_id_equal(&a->forward.node, &b->forward.node) &&
               entries_equal(a->forward.entries, a->forward.entry_count, b->forward.entries,
                             b->forward.entry_count);
    case SATCHEL_MESSAGE_FORWARDED:
        return a->forwarded.entry_count == b->forwarded.entry_count &&
               a->forwarded.refused_count == b->forwarded.refused_count;
    case SATCHEL_MESSAGE_COPY:
        return a->copy.number == b->copy.number && satchel_span_equal(a->copy.hash, b->copy.hash) &&
               satchel_span_equal(a->copy.token, b->copy.token);
    case SATCHEL_MESSAGE_COPIED:
        return satchel_id_equal(&a->copied.device, &b->copied.device) &&
               satchel_id_equal(&a->copied.receipt, &b->copied.receipt) &&
               a->copied.token_number == b->copied.token_number;
    case SATCHEL_MESSAGE_ROTATE: return satchel_span_equal(a->rotate.token, b->rotate.token);
    case SATCHEL_MESSAGE_ROTATED:
        return a->rotated.token_number == b->rotated.token_number &&
               satchel_id_equal(&a->rotated.receipt, &b->rotated.receipt);
    case SATCHEL_MESSAGE_ROWS_REQUEST:
        return row_requests_equal(&a->rows_request, &b->rows_request);
    case SATCHEL_MESSAGE_ROWS:
        return a->rows.cursor == b->rows.cursor && a->rows.row_count == b->rows.row_count &&
               satchel_span_equal(a->rows.notes, b->rows.notes);
    case SATCHEL_MESSAGE_ACK: return a->ack.number == b->ack.number;
    case SATCHEL_MESSAGE_HEAD:
        return a->head.cursor == b->head.cursor &&
               vectors_equal(&a->head.vector, &b->head.vector) &&
               satchel_id_equal(&a->head.receipt, &b->head.receipt);
    case SATCHEL_MESSAGE_SCOPE:
        return a->scope.head == b->scope.head &&
               satchel_span_equal(a->scope.notes, b->scope.notes) &&
               entries_equal(a->scope.entries, a->scope.entry_count, b->scope.entries,
                             b->scope.entry_count);
    case SATCHEL_MESSAGE_DIGESTS: return digests_equal(&a->digests, &b->digests);
    case SATCHEL_MESSAGE_ADMIN_RESULT: return results_equal(&a->admin_result, &b->admin_result);
    case SATCHEL_MESSAGE_ERROR:
        return a->error.status == b->error.status &&
               satchel_span_equal(a->error.text, b->error.text);
    }
    return false;
}
