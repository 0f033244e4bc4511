/* What a rule costs a merge: CPU time to merge writes to a column of each rule over CPU time for
 * the same with @lww. A merge here is what a node does for a row it has loaded: the version read
 * from its bytes, the write merged, the version written again; where the rule asks for the row's
 * timeline, the rebuild too.
 *
 * A row lives through an insert and a series of writes, made beforehand: each by somebody who had
 * seen all before it, or two at a time that had not seen each other. All rules are measured in turn
 * in every round. */
#include "bench_subjects.h"

#include <satchel/operation.h>

#include <stdlib.h>

enum {
    ID,
    FILLER_FIRST,
    FILLER_LAST = 8,
    TESTED,    /* the column of the rule */
    COMPANION, /* of its group, or its follower; else @lww */
    STATE,     /* freezes what is frozen(sent) */
    COLUMNS
};

enum { WRITES = 20, ROWS = 400, DEVICES = 3 };

enum scenario { APART, TOGETHER, SCENARIOS }; /* each write knowing all before it; in pairs */

static const char *const SCENARIO_NAMES[] = {"knowing", "conflicting"};

static struct satchel_span span_of(const char *text)
{
    return satchel_span_text(text);
}

struct table {
    struct satchel_column_rules columns[COLUMNS];
    struct satchel_table_rules rules;
    struct satchel_state states[BENCH_STATE_COUNT];
    struct satchel_machine machine;
    struct satchel_row_context context;
    struct satchel_span roles[DEVICES];
    struct satchel_span freezing_state;
    struct satchel_span codes[BENCH_STATE_COUNT];
};

static void make_table(struct table *table, const struct bench_subject *subject)
{
    memset(table, 0, sizeof *table);
    for (uint32_t i = 0; i < COLUMNS; i++)
        table->columns[i] = (struct satchel_column_rules){.rule = SATCHEL_RULE_LWW, .unit = i};
    table->columns[ID].rule = SATCHEL_RULE_ID;
    table->columns[ID].in_key = true;
    table->columns[STATE].rule = SATCHEL_RULE_STATE;
    table->roles[0] = span_of("hq");
    table->roles[1] = span_of("branch_manager");
    table->roles[2] = span_of("rep");
    struct satchel_column_rules *tested = &table->columns[TESTED];
    tested->rule = subject->rule;
    tested->roles = table->roles;
    tested->role_count = DEVICES;
    if (subject->traits & (BENCH_GROUPED | BENCH_FOLLOWED)) {
        table->columns[COMPANION].rule =
            subject->traits & BENCH_GROUPED ? SATCHEL_RULE_GROUP : SATCHEL_RULE_FOLLOWS;
        table->columns[COMPANION].unit = TESTED;
        tested->has_followers = (subject->traits & BENCH_FOLLOWED) != 0;
    }
    table->rules = (struct satchel_table_rules){.columns = table->columns,
                                                .column_count = COLUMNS,
                                                .delete_policy = SATCHEL_DELETE_EDIT_WINS,
                                                .state_column = STATE,
                                                .has_keys = subject->rule == SATCHEL_RULE_KEY};
    table->freezing_state = span_of(BENCH_STATES[BENCH_STATE_SENT]);
    if (subject->traits & BENCH_FREEZES) {
        table->rules.freezing_states = &table->freezing_state;
        table->rules.freezing_state_count = 1;
        tested->frozen = 1;
    }
    for (uint32_t i = 0; i < BENCH_STATE_COUNT; i++)
        table->codes[i] = span_of(BENCH_STATES[i]);
    for (uint32_t i = 0; i < BENCH_STATE_COUNT; i++)
        table->states[i] = (struct satchel_state){.code = table->codes[i],
                                                  .rank = 10 * (int64_t)i,
                                                  .back_to = table->codes,
                                                  .back_to_count = BENCH_STATE_COUNT};
    table->machine = (struct satchel_machine){table->states, BENCH_STATE_COUNT};
    table->context = (struct satchel_row_context){.machines = &table->machine, .machine_count = 1};
}

/* ---- the store of one row ---- */

/* Ids as a store numbers them: here the number is in the id. */
static enum satchel_status number_of(void *context, const struct satchel_id *id, uint32_t *number)
{
    (void)context;
    *number = id->bytes[15];
    return SATCHEL_OK;
}

static enum satchel_status id_of(void *context, uint32_t number, struct satchel_id *id)
{
    (void)context;
    *id = (struct satchel_id){{0}};
    id->bytes[15] = (uint8_t)number;
    return SATCHEL_OK;
}

static const struct satchel_id_table IDS = {number_of, id_of, NULL};
enum { NODE = 200 };

struct stored_row {
    struct satchel_value values[COLUMNS];
    bool exists;
    struct satchel_buffer version; /* empty: never written */
};

static void must(enum satchel_status status, const char *what, const struct satchel_error *error)
{
    if (status != SATCHEL_OK)
        bench_fail(what, error && error->message[0] ? error->message : satchel_status_name(status));
}

static void merge(const struct table *table, struct stored_row *stored,
                  const struct satchel_write *writes, size_t before, struct satchel_arena *arena)
{
    struct satchel_error error = {0};
    struct satchel_merge_result result;
    struct satchel_row row = {
        .exists = stored->exists, .values = stored->values, .context = &table->context};
    if (stored->version.size)
        must(satchel_version_decode(arena, satchel_buffer_span(&stored->version), &IDS,
                                    &row.version),
             "version", NULL);
    else
        row.version = satchel_version_new(arena);
    if (!row.version)
        bench_fail("rules", "out of memory");
    enum satchel_status status =
        satchel_row_merge(&table->rules, &row, &writes[before], arena, &result, &error);
    if (status == SATCHEL_NEED_TIMELINE)
        status =
            satchel_row_rebuild(&table->rules, &row, writes, before + 1, arena, &result, &error);
    must(status, "merge", &error);
    stored->exists = row.exists;
    satchel_buffer_clear(&stored->version);
    must(satchel_version_encode(row.version, &IDS, &stored->version), "version", NULL);
}

static void forget(struct stored_row *stored)
{
    memset(stored->values, 0, sizeof stored->values);
    stored->exists = false;
    satchel_buffer_clear(&stored->version);
}

/* ---- the life of one row ---- */

struct life {
    struct satchel_write writes[WRITES + 1];
    size_t count;
};

static struct satchel_vector make_positions(struct bench_maker *maker, uint64_t seq)
{
    struct satchel_id node;
    struct satchel_vector vector = {NULL, 0};
    must(id_of(NULL, NODE, &node), "id", NULL);
    must(satchel_vector_raise(&maker->arena, &vector, &node, seq, &vector), "vector", NULL);
    return vector;
}

static void start_write(struct bench_maker *maker, const struct table *table, struct life *life,
                        uint64_t seen, enum satchel_op_kind kind)
{
    struct satchel_write *write = &life->writes[life->count];
    uint32_t device = (uint32_t)(life->count % DEVICES);
    struct satchel_field *fields =
        SATCHEL_ARENA_ARRAY(&maker->arena, struct satchel_field, COLUMNS);
    if (!fields)
        bench_fail("rules", "out of memory");
    *write = (struct satchel_write){
        .order = {satchel_stamp_from_ms(1719800000000 + (int64_t)life->count * 1000),
                  {{0}},
                  life->count / DEVICES + 1,
                  0},
        .positions = make_positions(maker, life->count + 1),
        .seen = make_positions(maker, seen),
        .role = table->roles[device],
        .kind = kind,
        .fields = fields};
    must(id_of(NULL, device + 1, &write->order.device), "id", NULL);
}

static void add_field(struct bench_maker *maker, const struct table *table,
                      struct satchel_write *write, uint32_t column,
                      const struct satchel_value *shown, struct satchel_value value)
{
    struct satchel_field *field = (struct satchel_field *)&write->fields[write->field_count++];
    bool is_write;
    field->column = column;
    must(satchel_operation_make(&table->columns[column], write->kind, shown, &value, &maker->arena,
                                &field->value, &is_write),
         "operation", NULL);
}

static void make_insert(struct bench_maker *maker, const struct table *table,
                        const struct bench_subject *subject, struct life *life)
{
    const struct satchel_value null = satchel_value_null();
    struct satchel_write *write = &life->writes[life->count];
    start_write(maker, table, life, 0, SATCHEL_OP_INSERT);
    for (uint32_t i = FILLER_FIRST; i < COLUMNS; i++)
        add_field(maker, table, write, i, &null,
                  i == TESTED      ? subject->value(maker, (uint32_t)life->count)
                  : i == COMPANION ? bench_integer_value(maker, 0)
                  : i == STATE     ? bench_state_value(maker, 0)
                                   : bench_plain_value(maker, i));
    life->count++;
}

/* Half way through its life the row that can freeze does. */
static void make_update(struct bench_maker *maker, const struct table *table,
                        const struct bench_subject *subject, struct life *life, uint64_t seen,
                        const struct satchel_value *shown)
{
    struct satchel_write *write = &life->writes[life->count];
    uint32_t step = (uint32_t)life->count;
    start_write(maker, table, life, seen, SATCHEL_OP_UPDATE);
    if ((subject->traits & BENCH_FREEZES) && step == WRITES / 2) {
        add_field(maker, table, write, STATE, &shown[STATE],
                  bench_state_value(maker, BENCH_STATE_SENT));
    } else {
        add_field(maker, table, write, TESTED, &shown[TESTED], subject->value(maker, step));
        if (subject->traits & (BENCH_GROUPED | BENCH_FOLLOWED))
            add_field(maker, table, write, COMPANION, &shown[COMPANION],
                      bench_integer_value(maker, step));
    }
    life->count++;
}

/* Merges once without the clock, because what an author does depends on what he was shown. */
static void make_life(struct bench_maker *maker, const struct table *table,
                      const struct bench_subject *subject, enum scenario scenario,
                      struct life *life)
{
    struct stored_row stored = {.exists = false};
    struct satchel_value shown[COLUMNS] = {{0}};
    uint64_t seen = 0;
    satchel_buffer_init(&stored.version, 1u << 20, NULL);
    life->count = 0;
    size_t inserts = subject->traits & BENCH_INSERTS ? (scenario == TOGETHER ? 2 : 1) : 1;
    while (life->count < (subject->traits & BENCH_INSERTS ? inserts : WRITES + 1)) {
        bool is_alone = scenario == APART || life->count % 2 == 1;
        if (is_alone && life->count > 0) {
            memcpy(shown, stored.values, sizeof shown);
            seen = life->count;
        }
        if (life->count < inserts)
            make_insert(maker, table, subject, life);
        else
            make_update(maker, table, subject, life, seen, shown);
        merge(table, &stored, life->writes, life->count - 1, &maker->arena);
    }
    satchel_buffer_deinit(&stored.version);
}

/* ---- measuring ---- */

struct measurement {
    struct table table;
    struct life life;
};

static struct measurement measurements[BENCH_SUBJECT_COUNT][SCENARIOS];
static double ratios[BENCH_SUBJECT_COUNT][SCENARIOS][ROUNDS_MAX];
static double rates[SCENARIOS][2][ROUNDS_MAX]; /* of @lww: updates, inserts */

/* CPU seconds per write. */
static double measure(const struct measurement *measured)
{
    struct stored_row stored = {.exists = false};
    struct satchel_arena arena;
    uint32_t lives = (uint32_t)(ROWS * (WRITES + 1) / measured->life.count);
    satchel_buffer_init(&stored.version, 1u << 20, NULL);
    satchel_arena_init(&arena, 64u << 20, NULL);
    double begin = bench_cpu_seconds();
    for (uint32_t i = 0; i < lives; i++) {
        forget(&stored);
        for (size_t k = 0; k < measured->life.count; k++)
            merge(&measured->table, &stored, measured->life.writes, k, &arena);
        satchel_arena_reset(&arena);
    }
    double seconds = bench_cpu_seconds() - begin;
    satchel_arena_deinit(&arena);
    satchel_buffer_deinit(&stored.version);
    return seconds / ((double)lives * (double)measured->life.count);
}

static void measure_round(uint32_t round, enum scenario scenario)
{
    double seconds[BENCH_SUBJECT_COUNT];
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++)
        seconds[i] = measure(&measurements[i][scenario]);
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++)
        ratios[i][scenario][round] =
            seconds[i] /
            seconds[BENCH_SUBJECTS[i].traits & BENCH_INSERTS ? BENCH_LWW_INSERT : BENCH_LWW];
    rates[scenario][0][round] = 1 / seconds[BENCH_LWW];
    rates[scenario][1][round] = 1 / seconds[BENCH_LWW_INSERT];
}

static void report(struct bench *bench, int number, enum scenario scenario)
{
    const struct bench_subject *subject = &BENCH_SUBJECTS[number];
    char name[40], text[80];
    bool is_insert = (subject->traits & BENCH_INSERTS) != 0;
    bool is_judged = !(scenario == TOGETHER && (subject->traits & BENCH_UNJUDGED_TOGETHER));
    snprintf(name, sizeof name, "merge_%s", subject->name);
    snprintf(text, sizeof text, "merge of %s, %s", is_insert ? "inserts" : "updates",
             subject->name);
    bench_report(bench,
                 &(struct bench_line){
                     .name = name,
                     .variant = SCENARIO_NAMES[scenario],
                     .text = text,
                     .unit = "lww",
                     .ratio = bench_median(ratios[number][scenario], bench->round_count),
                     .budget = is_judged ? BENCH_RULE_BUDGET : 0,
                     .per_second = bench_median(rates[scenario][is_insert], bench->round_count),
                     .per_second_of = "@lww writes"});
}

void bench_rules(struct bench *bench)
{
    struct bench_maker maker = {.seed = 7};
    satchel_arena_init(&maker.arena, 256u << 20, NULL);
    for (int i = 0; i < BENCH_SUBJECT_COUNT; i++) {
        for (int s = 0; s < SCENARIOS; s++) {
            make_table(&measurements[i][s].table, &BENCH_SUBJECTS[i]);
            make_life(&maker, &measurements[i][s].table, &BENCH_SUBJECTS[i], (enum scenario)s,
                      &measurements[i][s].life);
        }
    }
    printf("merges per rule: rows of %d columns with %d writes each, medians of %u rounds\n",
           COLUMNS, WRITES, (unsigned)bench->round_count);
    for (uint32_t round = 0; round < bench->round_count; round++)
        for (int s = 0; s < SCENARIOS; s++)
            measure_round(round, (enum scenario)s);
    for (int s = 0; s < SCENARIOS; s++)
        for (int i = 0; i < BENCH_SUBJECT_COUNT; i++)
            if (i != BENCH_LWW && i != BENCH_LWW_INSERT)
                report(bench, i, (enum scenario)s);
    satchel_arena_deinit(&maker.arena);
}
