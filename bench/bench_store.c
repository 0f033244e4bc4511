/* What a rule costs a server: CPU time to merge change sets of updates into a store, log, versions,
 * conflicts and notes included, over CPU time for the same with @lww. One table per rule; in every
 * round each is given updates of all rows by somebody who has seen everything, then by two who have
 * not seen each other. Measured are the first, which closes the conflicts of the round before, and
 * the last of these three. */
#include "bench_server.h"
#include "bench_subjects.h"

#include <satchel/changeset.h>
#include <satchel/operation.h>
#include <satchel/schema.h>

#include <stdlib.h>

enum { ROWS = 500, ROWS_PER_CHANGE_SET = 25, CHANGE_SETS = ROWS / ROWS_PER_CHANGE_SET };
enum { TESTED = 5, COMPANION = 6, COLUMNS = 7 };
enum { SETTLER, RIVAL, LATER, DEVICES };

static const char COLUMNS_SQL[] = "(id TEXT PRIMARY KEY, name TEXT, street TEXT, city TEXT,"
                                  " changed_at INTEGER,\n ";
static const char STATES_SQL[] =
    "CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS\n"
    " SELECT 'deal', value, key, 0, '[\"a_new\",\"b_open\",\"c_quoted\",\"d_sent\",\"e_won\"]'"
    " FROM json_each('[\"a_new\",\"b_open\",\"c_quoted\",\"d_sent\",\"e_won\"]');\n";

/* The rule as the schema spells it; NULL: not updated by devices. */
static const char *spelling_of(const struct bench_subject *subject)
{
    switch (subject->rule) {
    case SATCHEL_RULE_LWW: return subject->traits & BENCH_INSERTS ? NULL : "@lww";
    case SATCHEL_RULE_IMMUTABLE:
    case SATCHEL_RULE_APPEND:
    case SATCHEL_RULE_SERVER: return NULL;
    case SATCHEL_RULE_GROUP: return "@group(g)";
    case SATCHEL_RULE_STATE: return "@state(deal)";
    case SATCHEL_RULE_AUTHORITY: return "@authority(hq>rep)";
    case SATCHEL_RULE_CLAIM: return "@claim(hq>rep)";
    case SATCHEL_RULE_KEY_WEAK: return "@key(weak)";
    default: break;
    }
    static char spelling[32];
    snprintf(spelling, sizeof spelling, "@%s", satchel_rule_name(subject->rule));
    return spelling;
}

static bool is_measured(const struct bench_subject *subject)
{
    return spelling_of(subject) && !(subject->traits & BENCH_FREEZES);
}

static void write_schema(char *sql, size_t room)
{
    size_t size = (size_t)snprintf(sql, room, "%s", STATES_SQL);
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++) {
        const struct bench_subject *subject = &BENCH_SUBJECTS[i];
        if (!is_measured(subject))
            continue;
        bool is_integer = subject->value == bench_integer_value;
        const char *companion = subject->traits & BENCH_GROUPED    ? "-- @group(g)"
                                : subject->traits & BENCH_FOLLOWED ? "-- @follows(tested)"
                                                                   : "";
        size +=
            (size_t)snprintf(sql + size, room - size,
                             "-- @table scope=all delete=edit_wins\nCREATE TABLE t_%s%s"
                             "tested %s, -- %s\n beside INTEGER %s\n);\n",
                             subject->name, COLUMNS_SQL, is_integer ? "INTEGER DEFAULT 0" : "TEXT",
                             spelling_of(subject), companion);
    }
}

/* ---- the store ---- */

struct server {
    struct bench_server of;
    struct bench_maker maker;
};

static void must(enum satchel_status status)
{
    if (status != SATCHEL_OK)
        bench_fail("store", satchel_status_name(status));
}

static void open_server(struct server *server, const struct bench *bench)
{
    char sql[16384];
    memset(server, 0, sizeof *server);
    server->maker.seed = 7;
    satchel_arena_init(&server->maker.arena, (size_t)1 << 30, NULL);
    write_schema(sql, sizeof sql);
    bench_server_open(&server->of, bench, "bench-store", sql, DEVICES);
}

static void close_server(struct server *server)
{
    bench_server_close(&server->of);
    satchel_arena_deinit(&server->maker.arena);
}

/* ---- change sets ---- */

static void set_field(struct server *server, const struct satchel_table *table,
                      enum satchel_op_kind kind, struct satchel_field *field, uint32_t column,
                      struct satchel_value old_value, struct satchel_value new_value)
{
    bool is_write;
    field->column = column;
    must(satchel_operation_make(&table->rules.columns[column], kind, &old_value, &new_value,
                                &server->maker.arena, &field->value, &is_write));
}

static void write_part(struct server *server, const struct satchel_table *table,
                       const struct bench_subject *subject, enum satchel_op_kind kind, uint32_t row,
                       uint32_t step, struct satchel_buffer *body)
{
    struct satchel_field fields[COLUMNS];
    struct bench_maker *maker = &server->maker;
    char name[32];
    snprintf(name, sizeof name, "0190a5e2-%08x", (unsigned)row);
    const struct satchel_value key = satchel_value_text(satchel_span_text(name));
    const struct satchel_value null = satchel_value_null();
    struct satchel_part part = {
        .kind = kind, .table = table->number, .key = &key, .key_count = 1, .fields = fields};
    for (uint32_t i = 1; kind == SATCHEL_OP_INSERT && i < TESTED; i++)
        set_field(server, table, kind, &fields[part.field_count++], i, null,
                  i + 1 == TESTED ? bench_integer_value(maker, step) : bench_plain_value(maker, i));
    set_field(server, table, kind, &fields[part.field_count++], TESTED,
              step ? subject->value(maker, step - 1) : null, subject->value(maker, step));
    if (kind == SATCHEL_OP_INSERT || subject->traits & (BENCH_GROUPED | BENCH_FOLLOWED))
        set_field(server, table, kind, &fields[part.field_count++], COMPANION, null,
                  bench_integer_value(maker, step));
    must(satchel_changeset_write_part(body, &part));
}

static void write_change_set(struct server *server, const struct bench_subject *subject,
                             enum satchel_op_kind kind, uint32_t device, uint32_t first_row,
                             uint32_t step, struct satchel_incoming *out)
{
    char table_name[40];
    struct satchel_error error = {0};
    struct satchel_store_head head;
    struct satchel_buffer body;
    must(server->of.store->ops->load_head(server->of.store, &head, &error));
    const struct satchel_position position = {head.node, server->of.seen};
    const struct satchel_changeset_header header = {
        1, {&position, server->of.seen > 0}, satchel_span_text("rep"), ROWS_PER_CHANGE_SET};
    snprintf(table_name, sizeof table_name, "t_%s", subject->name);
    const struct satchel_table *table = satchel_schema_find(server->of.store->schema, table_name);
    if (!table)
        bench_fail(table_name, "no such table");
    satchel_buffer_init(&body, SATCHEL_CHANGESET_BYTES_MAX, NULL);
    must(satchel_changeset_write_header(&body, &header));
    for (uint32_t i = 0; i < ROWS_PER_CHANGE_SET; i++)
        write_part(server, table, subject, kind, first_row + i, step, &body);
    *out = bench_server_incoming(
        &server->of, device, satchel_arena_copy(&server->maker.arena, satchel_buffer_span(&body)));
    satchel_buffer_deinit(&body);
    if (!out->body.data)
        bench_fail("store", "out of memory");
}

/* One device's writes to all rows, in one transaction: CPU seconds, without what makes them. */
static double push(struct server *server, const struct bench_subject *subject,
                   enum satchel_op_kind kind, uint32_t device, uint32_t step)
{
    static struct satchel_incoming incoming[CHANGE_SETS];
    for (uint32_t i = 0; i < CHANGE_SETS; i++)
        write_change_set(server, subject, kind, device, i * ROWS_PER_CHANGE_SET, step,
                         &incoming[i]);
    double seconds = bench_server_merge(&server->of, incoming, CHANGE_SETS);
    satchel_arena_reset(&server->maker.arena);
    return seconds;
}

/* ---- measuring ---- */

enum { KNOWING, CONFLICTING, SCENARIOS };
static const char *const SCENARIO_NAMES[] = {"knowing", "conflicting"};

static double ratios[BENCH_SUBJECT_COUNT][SCENARIOS][ROUNDS_MAX];
static double rates[SCENARIOS][ROUNDS_MAX]; /* of @lww */

static void measure_round(struct server *server, uint32_t round)
{
    double seconds[BENCH_SUBJECT_COUNT][SCENARIOS];
    uint32_t step = 1 + round * DEVICES;
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++) {
        const struct bench_subject *subject = &BENCH_SUBJECTS[i];
        if (!is_measured(subject))
            continue;
        bench_server_see_all(&server->of);
        seconds[i][KNOWING] = push(server, subject, SATCHEL_OP_UPDATE, SETTLER, step);
        bench_server_see_all(&server->of);
        push(server, subject, SATCHEL_OP_UPDATE, RIVAL, step + 1);
        seconds[i][CONFLICTING] = push(server, subject, SATCHEL_OP_UPDATE, LATER, step + 2);
        for (int s = 0; s < SCENARIOS; s++)
            ratios[i][s][round] = seconds[i][s] / seconds[BENCH_LWW][s];
    }
    for (int s = 0; s < SCENARIOS; s++)
        rates[s][round] = ROWS / seconds[BENCH_LWW][s];
}

static void report(struct bench *bench, int number, int scenario)
{
    const struct bench_subject *subject = &BENCH_SUBJECTS[number];
    bool is_judged = scenario == KNOWING || !(subject->traits & BENCH_UNJUDGED_TOGETHER);
    char name[40], text[80];
    snprintf(name, sizeof name, "store_%s", subject->name);
    snprintf(text, sizeof text, "server's merge of updates, %s", subject->name);
    bench_report(bench, &(struct bench_line){
                            .name = name,
                            .variant = SCENARIO_NAMES[scenario],
                            .text = text,
                            .unit = "lww",
                            .ratio = bench_median(ratios[number][scenario], bench->round_count),
                            .budget = is_judged ? BENCH_RULE_BUDGET : 0,
                            .per_second = bench_median(rates[scenario], bench->round_count),
                            .per_second_of = "@lww writes"});
}

void bench_store(struct bench *bench)
{
    struct server server;
    open_server(&server, bench);
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++)
        if (is_measured(&BENCH_SUBJECTS[i]))
            push(&server, &BENCH_SUBJECTS[i], SATCHEL_OP_INSERT, SETTLER, 0);
    printf("a server's merges per rule: %d rows each in change sets of %d, medians of %u rounds\n",
           ROWS, ROWS_PER_CHANGE_SET, (unsigned)bench->round_count);
    for (uint32_t round = 0; round < bench->round_count; round++)
        measure_round(&server, round);
    for (int s = 0; s < SCENARIOS; s++)
        for (int i = 0; i < BENCH_SUBJECT_COUNT; i++)
            if (i != BENCH_LWW && is_measured(&BENCH_SUBJECTS[i]))
                report(bench, i, s);
    close_server(&server);
}
