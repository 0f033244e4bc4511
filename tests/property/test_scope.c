/* Scopes against plain SQL: random writes over a schema with every kind of scope; after every batch
 * the set of each row, what each user holds and who sees what are compared with recursive queries
 * over the application's tables alone, what users gained and lost since earlier heads with what
 * they saw there, and what they may write with that, too; and the sums of digests that are kept of
 * each set with sums over the rows. */
#include "../unit/digest_oracle.h"
#include "../unit/merge_kit.h"
#include "scope.h"

#include <stdlib.h>
#include <unistd.h>

enum { KEYS = 6, BATCHES = 24, USERS = 4, DEVICES = 3, RIGHTS = 6, PASSING = 3 };

static const char schema_sql[] =
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT);\n"
    "-- @table scope=all delete=edit_wins\n"
    "CREATE TABLE member(id TEXT PRIMARY KEY, person_id TEXT, value);\n"
    "-- @table scope=row(owner, region) delete=edit_wins\n"
    "CREATE TABLE account(id TEXT PRIMARY KEY, owner, region);\n"
    "-- @table scope=via(account_id) delete=edit_wins\n"
    "CREATE TABLE contact(id TEXT PRIMARY KEY, account_id TEXT REFERENCES account(id));\n"
    "-- @table scope=via(kind, on_id) delete=edit_wins\n"
    "CREATE TABLE note(id TEXT PRIMARY KEY, kind TEXT, on_id TEXT -- @lww @ref(kind)\n"
    ");\n"
    "-- @table scope=via(account_id) row(owner) delete=edit_wins\n"
    "CREATE TABLE task(id TEXT PRIMARY KEY, account_id TEXT REFERENCES account(id), owner);\n"
    "-- @table scope=row(owner) via(parent_id) delete=edit_wins\n"
    "CREATE TABLE node(id TEXT PRIMARY KEY, parent_id TEXT REFERENCES node(id), owner);\n"
    "-- @table scope=server delete=edit_wins\n"
    "CREATE TABLE secret(id TEXT PRIMARY KEY, x);\n"
    "-- @table scope=via(secret_id) delete=edit_wins\n"
    "CREATE TABLE pin(id TEXT PRIMARY KEY, secret_id TEXT REFERENCES secret(id));\n"
    "-- @table scope=via(person_id) delete=edit_wins\n"
    "CREATE TABLE tag(id TEXT PRIMARY KEY, person_id TEXT REFERENCES person(id));\n"
    "-- @table scope=row(owner) delete=edit_wins\n"
    "CREATE TABLE firm(id TEXT PRIMARY KEY, code TEXT, -- @key\n"
    "  owner);\n"
    "-- @table scope=via(firm_id) delete=edit_wins\n"
    "CREATE TABLE office(id TEXT PRIMARY KEY, firm_id TEXT REFERENCES firm(id));\n"
    "-- @table scope=via(id) row(x) delete=edit_wins\n"
    "CREATE TABLE badge(id TEXT PRIMARY KEY REFERENCES firm(id), x);\n"
    "-- @table scope=via(kind, on_id) via(firm_id) delete=edit_wins\n"
    "CREATE TABLE paper(id TEXT PRIMARY KEY, kind TEXT, on_id TEXT, -- @lww @ref(kind)\n"
    "  firm_id TEXT REFERENCES firm(id));\n"
    "CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, 'rep', 1 FROM "
    "person;\n"
    "CREATE VIEW satchel_grants(user, value) AS SELECT id, id FROM person\n"
    " UNION SELECT person_id, value FROM member;\n";

enum {
    PERSON,
    MEMBER,
    ACCOUNT,
    CONTACT,
    NOTE,
    TASK,
    NODE,
    SECRET,
    PIN,
    TAG,
    FIRM,
    OFFICE,
    BADGE,
    PAPER,
    TABLES
};
static const char *const table_names[TABLES] = {"person", "member", "account", "contact", "note",
                                                "task",   "node",   "secret",  "pin",     "tag",
                                                "firm",   "office", "badge",   "paper"};
enum { ROWS = TABLES * KEYS };

/* What hangs on what, who owns what, in SQL alone; `names` knows the row of every name. */
#define SQL_NAMES "CREATE TEMP TABLE names(name BLOB PRIMARY KEY, row TEXT UNIQUE, number INTEGER)"
static const char model_sql[] =
    "CREATE TEMP VIEW standing(row) AS"
    " SELECT 'person:'||id FROM person"
    " UNION ALL SELECT 'member:'||id FROM member"
    " UNION ALL SELECT 'account:'||id FROM account"
    " UNION ALL SELECT 'contact:'||id FROM contact"
    " UNION ALL SELECT 'note:'||id FROM note"
    " UNION ALL SELECT 'task:'||id FROM task"
    " UNION ALL SELECT 'node:'||id FROM node"
    " UNION ALL SELECT 'secret:'||id FROM secret"
    " UNION ALL SELECT 'pin:'||id FROM pin"
    " UNION ALL SELECT 'tag:'||id FROM tag"
    " UNION ALL SELECT 'firm:'||id FROM firm"
    " UNION ALL SELECT 'office:'||id FROM office"
    " UNION ALL SELECT 'badge:'||id FROM badge"
    " UNION ALL SELECT 'paper:'||id FROM paper;"
    "CREATE TEMP VIEW points(child, parent) AS"
    " SELECT 'contact:'||id, 'account:'||account_id FROM contact"
    " UNION ALL SELECT 'note:'||id, lower(kind)||':'||on_id FROM note"
    " UNION ALL SELECT 'task:'||id, 'account:'||account_id FROM task"
    " UNION ALL SELECT 'node:'||id, 'node:'||parent_id FROM node"
    " UNION ALL SELECT 'pin:'||id, 'secret:'||secret_id FROM pin"
    " UNION ALL SELECT 'tag:'||id, 'person:'||person_id FROM tag"
    " UNION ALL SELECT 'office:'||id, 'firm:'||firm_id FROM office"
    " UNION ALL SELECT 'badge:'||id, 'firm:'||id FROM badge"
    " UNION ALL SELECT 'paper:'||id, lower(kind)||':'||on_id FROM paper"
    " UNION ALL SELECT 'paper:'||id, 'firm:'||firm_id FROM paper;"
    "CREATE TEMP VIEW stands(row, survivor) AS SELECT a.row, b.row FROM satchel_alias x"
    " JOIN names a ON a.name=x.name JOIN names b ON b.name=x.survivor;"
    "CREATE TEMP VIEW hangs(child, parent) AS"
    " SELECT child, coalesce((SELECT survivor FROM stands WHERE stands.row=parent), parent)"
    " FROM points;"
    "CREATE TEMP VIEW own(row, value) AS"
    " SELECT 'account:'||id, owner FROM account UNION ALL SELECT 'account:'||id, region"
    " FROM account UNION ALL SELECT 'task:'||id, owner FROM task"
    " UNION ALL SELECT 'node:'||id, owner FROM node UNION ALL SELECT 'firm:'||id, owner FROM firm"
    " UNION ALL SELECT 'badge:'||id, x FROM badge;"
    /* Rows that came and went within one commit, as they were last: they hang on each other, too;
     * what stands does not hang on them. */
    "CREATE TEMP TABLE passing(row TEXT PRIMARY KEY);"
    "CREATE TEMP TABLE passing_points(child, parent);"
    "CREATE TEMP TABLE passing_own(row, value);";
#define PLAIN(value)                                                     \
    "quote(CASE WHEN typeof(" value ")='real' AND " value "=CAST(" value \
    " AS INTEGER) THEN CAST(" value " AS INTEGER) ELSE " value " END)"
/* row, one value that it is seen by, '*' everyone; who is seen by nobody has no row here. What
 * left is seen by who saw it last. */
static const char seen_by_sql[] =
    "CREATE TEMP TABLE stood(row, v);"
    "CREATE TEMP VIEW stays(row) AS SELECT row FROM standing UNION"
    " SELECT row FROM stands WHERE survivor IN (SELECT row FROM standing);"
    "CREATE TEMP VIEW seen_by(row, v) AS WITH RECURSIVE here(row) AS MATERIALIZED (SELECT row FROM "
    "stays),"
    " present(row) AS MATERIALIZED (SELECT row FROM here UNION SELECT row FROM passing),"
    " every(row) AS MATERIALIZED (SELECT row FROM present UNION SELECT row FROM stood),"
    " edge(child, parent) AS MATERIALIZED (SELECT child, parent FROM hangs"
    "  WHERE parent IN here UNION SELECT row, survivor FROM stands UNION"
    "  SELECT child, coalesce((SELECT survivor FROM stands WHERE stands.row=parent), parent) AS p"
    "   FROM passing_points WHERE p IN every),"
    " has(row, v) AS MATERIALIZED (SELECT row, " PLAIN(
        "value") " FROM"
                 "   (SELECT * FROM own UNION ALL SELECT * FROM passing_own) WHERE value NOTNULL "
                 "UNION"
                 "  SELECT row, '*' FROM present WHERE row LIKE 'person:%' OR row LIKE 'member:%' "
                 "UNION"
                 "  SELECT row, v FROM stood WHERE row NOT IN present),"
                 " reach(row, at) AS (SELECT row, row FROM present UNION"
                 "  SELECT reach.row, edge.parent FROM reach JOIN edge ON edge.child=reach.at)"
                 " SELECT DISTINCT reach.row, has.v FROM reach JOIN has ON has.row=reach.at";
/* number of the row, what it is seen by: '*' everyone, else values; '' nobody */
#define SQL_SETS                                                                           \
    "SELECT number, iif('*' IN (SELECT v FROM seen_by s WHERE s.row=names.row), '*', '')," \
    " (SELECT group_concat(v, ' ') FROM (SELECT v FROM seen_by s WHERE s.row=names.row"    \
    "  ORDER BY v)) FROM names WHERE row IN stays OR row IN passing"
/* Two queries: in a view of both SQLite may give the values the type of the first. */
#define SQL_GRANTS                                                                             \
    "SELECT DISTINCT login, " PLAIN("value") " FROM person JOIN member ON person_id=person.id" \
                                             " WHERE login NOTNULL AND value NOTNULL UNION "   \
                                             "SELECT login, quote(id) FROM person"             \
                                             " WHERE login NOTNULL ORDER BY 1, 2"
#define SQL_HELD "SELECT user, " PLAIN("value") " FROM satchel_held_grant ORDER BY 1, 2"
#define SQL_KEPT                                                                       \
    "SELECT number, CASE scope WHEN 1 THEN '*' WHEN 2 THEN '' ELSE"                    \
    " (SELECT group_concat(v, ' ') FROM (SELECT " PLAIN(                               \
        "value") " AS v"                                                               \
                 "  FROM satchel_scope_grant g WHERE g.scope=r.scope ORDER BY v)) END" \
                 " FROM satchel_row r JOIN names ON names.name=r.name WHERE scope NOTNULL"

static uint64_t random_state;
static uint32_t pick(uint32_t count)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 20) % count);
}

/* ---- the model ---- */

struct moment {
    uint64_t head;
    char *sets[ROWS];       /* of rows ever seen of scoped tables: the last one; NULL: none */
    uint32_t created[ROWS]; /* the moment it came into being */
    char *grants[USERS];    /* " value value " */
    bool sees[USERS][ROWS];
};

struct world {
    struct kit kit;
    struct scope_viewer *viewer;
    sqlite3 *reader;
    struct satchel_identity identity;
    struct satchel_span names[ROWS];
    struct moment moments[BATCHES * (1 + RIGHTS) + 1];
    uint32_t count;
    uint64_t numbers[DEVICES + 1];
    int64_t ms;
    int maker[ROWS];        /* the user who made the row, from 1; 0: it has never been */
    uint64_t made_at[ROWS]; /* the cursor of that */
    int survivor[ROWS];     /* the row that stands for it now; -1: itself */
    uint64_t left_total, came_total, exact_total, written_total, refused_total, passed_total;
};

static bool is_scoped(uint32_t row)
{
    uint32_t table = row / KEYS;
    return table != PERSON && table != MEMBER && table != SECRET;
}

static char *keep(struct world *world, const char *text)
{
    return (char *)(uintptr_t)satchel_arena_copy(&world->kit.arena, satchel_span_text(text)).data;
}

static sqlite3_stmt *query(struct world *world, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    sqlite3 *db = satchel_store_sqlite_db(world->kit.store);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    return statement;
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

static bool has_value(const char *grants, const char *set)
{
    if (!set || !*set)
        return false;
    if (strcmp(set, "*") == 0)
        return true;
    while (*set) {
        char word[64];
        size_t size = strcspn(set, " ");
        snprintf(word, sizeof word, " %.*s ", (int)size, set);
        if (strstr(grants, word))
            return true;
        set += size + (set[size] == ' ');
    }
    return false;
}

/* What the application's tables say now. */
static struct moment *look(struct world *world)
{
    struct moment *now = &world->moments[world->count];
    const struct moment *before = world->count ? now - 1 : NULL;
    struct satchel_store_head head;
    memset(now, 0, sizeof *now);
    if (before) {
        memcpy(now->sets, before->sets, sizeof now->sets);
        memcpy(now->created, before->created, sizeof now->created);
    }
    assert_ok(world->kit.store->ops->load_head(world->kit.store, &head, &world->kit.error));
    now->head = head.cursor;
    sqlite3_stmt *statement = query(world, SQL_SETS);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        int row = sqlite3_column_int(statement, 0);
        if (!is_scoped((uint32_t)row))
            continue;
        const char *all = text_of(statement, 1);
        if (!now->sets[row])
            now->created[row] = world->count;
        now->sets[row] = keep(world, *all ? all : text_of(statement, 2));
    }
    sqlite3_finalize(statement);
    kit_run(&world->kit, "CREATE TEMP TABLE seen AS SELECT row, v FROM seen_by;"
                         "DELETE FROM stood WHERE row IN stays OR row IN passing;"
                         "INSERT INTO stood SELECT row, v FROM seen; DROP TABLE seen;"
                         "DELETE FROM passing; DELETE FROM passing_points;"
                         "DELETE FROM passing_own");
    for (int user = 0; user < USERS; user++) {
        char grants[4096] = " ", login[16];
        snprintf(login, sizeof login, "user%d", user + 1);
        statement = query(world, SQL_GRANTS);
        while (sqlite3_step(statement) == SQLITE_ROW)
            if (strcmp(text_of(statement, 0), login) == 0) {
                size_t used = strlen(grants);
                snprintf(grants + used, sizeof grants - used, "%s ", text_of(statement, 1));
            }
        sqlite3_finalize(statement);
        now->grants[user] = keep(world, grants);
        for (uint32_t row = 0; row < ROWS; row++)
            now->sees[user][row] = has_value(grants, now->sets[row]);
    }
    world->count++;
    return now;
}

/* ---- comparing ---- */

static void check_kept(struct world *world, const struct moment *now)
{
    bool seen[ROWS] = {false};
    sqlite3_stmt *statement = query(world, SQL_KEPT);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        int row = sqlite3_column_int(statement, 0);
        seen[row] = true;
        if (!now->sets[row] || strcmp(text_of(statement, 1), now->sets[row]) != 0)
            fail_msg("row %s:k%d has the set '%s', not '%s'", table_names[row / KEYS], row % KEYS,
                     text_of(statement, 1), now->sets[row] ? now->sets[row] : "none");
    }
    sqlite3_finalize(statement);
    for (uint32_t row = 0; row < ROWS; row++)
        if (now->sets[row] && !seen[row])
            fail_msg("row %s:k%d has no set, not '%s'", table_names[row / KEYS], row % KEYS,
                     now->sets[row]);
    char *expected = keep(world, kit_rows(&world->kit, SQL_GRANTS));
    assert_string_equal(kit_rows(&world->kit, SQL_HELD), expected);
}

/* Every name of the list, a page at a time. */
static void take_all(struct world *world, bool is_left, uint64_t head, bool named[ROWS])
{
    struct satchel_arena arena;
    struct satchel_span after = {NULL, 0};
    satchel_arena_init(&arena, SIZE_MAX / 2, NULL);
    memset(named, 0, ROWS * sizeof *named);
    for (;;) {
        struct satchel_span *names;
        size_t count, limit = 1 + pick(7);
        assert_ok((is_left ? scope_left : scope_came)(world->viewer, head, after, limit, &arena,
                                                      &names, &count, &world->kit.error));
        assert_true(count <= limit);
        for (size_t i = 0; i < count; i++) {
            uint32_t row = 0;
            assert_true(satchel_span_compare(names[i], after) > 0);
            after = names[i];
            while (row < ROWS && !satchel_span_equal(world->names[row], names[i]))
                row++;
            assert_true(row < ROWS);
            named[row] = true;
        }
        if (count < limit)
            break;
    }
    satchel_arena_deinit(&arena);
}

/* Whether the user saw the row at `then` or at any moment since. */
static bool saw_ever(const struct world *world, uint32_t then, int user, uint32_t row)
{
    for (uint32_t i = then; i < world->count; i++)
        if (world->moments[i].sees[user][row])
            return true;
    return false;
}

/* Whether the user saw the row at every moment since `then`, or since it came into being. */
static bool saw_always(const struct world *world, uint32_t then, int user, uint32_t row)
{
    const struct moment *now = &world->moments[world->count - 1];
    uint32_t first = now->created[row] > then ? now->created[row] : then;
    for (uint32_t i = first; i < world->count; i++)
        if (!world->moments[i].sees[user][row])
            return false;
    return true;
}

/* At any moment since. */
static bool saw_once(const struct world *world, uint32_t then, int user, uint32_t row)
{
    for (uint32_t i = then; i < world->count; i++)
        if (world->moments[i].sees[user][row])
            return true;
    return false;
}

static bool was_still(const struct world *world, uint32_t then, int user, uint32_t row)
{
    const struct moment *now = &world->moments[world->count - 1];
    uint32_t first = now->created[row] > then ? now->created[row] : then;
    for (uint32_t i = first; i < world->count; i++)
        if (strcmp(world->moments[i].sets[row], now->sets[row]) != 0)
            return false;
    for (uint32_t i = then; i < world->count; i++)
        if (strcmp(world->moments[i].grants[user], now->grants[user]) != 0)
            return false;
    return true;
}

static void check_since(struct world *world, int user, uint32_t then)
{
    const struct moment *now = &world->moments[world->count - 1], *past = &world->moments[then];
    bool left[ROWS], came[ROWS];
    if (pick(2))
        take_all(world, true, past->head, left);
    take_all(world, false, past->head, came);
    take_all(world, true, past->head, left);
    for (uint32_t row = 0; row < ROWS; row++) {
        const struct satchel_table *table =
            satchel_schema_find(world->kit.store->schema, table_names[row / KEYS]);
        bool saw, sees = now->sees[user][row];
        bool expected = saw_ever(world, then, user, row);
        assert_ok(scope_saw_since(world->viewer, table, world->names[row], past->head, &saw,
                                  &world->kit.error));
        if (is_scoped(row) && saw != expected)
            fail_msg("user%d %s %s:k%d since %llu", user + 1, saw ? "saw" : "did not see",
                     table_names[row / KEYS], row % KEYS, (unsigned long long)past->head);
        if (!is_scoped(row))
            assert_int_equal(saw, row / KEYS != SECRET);
        if (is_scoped(row) && left[row] != (saw_once(world, then, user, row) && !sees))
            fail_msg("user%d: %s:k%d has%s left since %llu", user + 1, table_names[row / KEYS],
                     row % KEYS, left[row] ? "" : " not", (unsigned long long)past->head);
        if (came[row] && !sees)
            fail_msg("user%d: %s:k%d came and is not seen", user + 1, table_names[row / KEYS],
                     row % KEYS);
        if (sees && is_scoped(row) && !came[row] && !saw_always(world, then, user, row))
            fail_msg("user%d: %s:k%d has not come since %llu", user + 1, table_names[row / KEYS],
                     row % KEYS, (unsigned long long)past->head);
        if (came[row] && was_still(world, then, user, row))
            fail_msg("user%d: %s:k%d came and was there all the time", user + 1,
                     table_names[row / KEYS], row % KEYS);
        world->left_total += left[row];
        world->came_total += came[row];
        world->exact_total += sees && is_scoped(row) && !saw_always(world, then, user, row);
    }
}

static void check_seen(struct world *world, const struct moment *now)
{
    for (int user = 0; user < USERS; user++) {
        char login[16];
        snprintf(login, sizeof login, "user%d", user + 1);
        assert_ok(satchel_db_exec(world->reader, "BEGIN", &world->kit.error));
        assert_ok(scope_viewer_set(world->viewer, world->kit.store->schema,
                                   satchel_span_text(login), &world->kit.error));
        for (uint32_t row = 0; row < ROWS; row++) {
            bool sees;
            const struct satchel_table *table =
                satchel_schema_find(world->kit.store->schema, table_names[row / KEYS]);
            assert_ok(
                scope_sees(world->viewer, table, world->names[row], &sees, &world->kit.error));
            bool expected = is_scoped(row) ? now->sees[user][row] : row / KEYS != SECRET;
            if (sees != expected)
                fail_msg("user%d %s %s:k%d", user + 1, sees ? "sees" : "does not see",
                         table_names[row / KEYS], row % KEYS);
        }
        for (uint32_t i = 0; i < 4; i++)
            check_since(world, user, i < 3 ? pick(world->count) : world->count - 1);
        assert_ok(satchel_db_exec(world->reader, "COMMIT", &world->kit.error));
    }
}

/* ---- writes ---- */

static struct satchel_value random_value(struct world *world)
{
    static const char *const words[] = {"k0", "k1", "k2", "k3", "k4", "r1", "r2", "7"};
    switch (pick(12)) {
    case 0: return satchel_value_null();
    case 1: return satchel_value_integer(7);
    case 2: return satchel_value_real(pick(2) ? 7.0 : 7.5);
    case 3: return satchel_value_blob(satchel_span_text("k1"));
    default: return text(keep(world, words[pick(sizeof words / sizeof *words)]));
    }
}

static struct satchel_value random_key(struct world *world)
{
    char key[8];
    snprintf(key, sizeof key, "k%u", pick(KEYS));
    return pick(10) == 0 ? satchel_value_null() : text(keep(world, key));
}

static struct satchel_value random_kind(struct world *world)
{
    if (pick(12) == 0)
        return text("Contact");
    return pick(20) == 0 ? text("nothing") : text(keep(world, table_names[pick(TABLES)]));
}

static struct satchel_value random_login(void)
{
    static const char *const logins[] = {"user1", "user2", "user3", "user4"};
    return pick(8) == 0 ? satchel_value_null() : text(logins[pick(USERS)]);
}

static struct satchel_value random_code(void)
{
    static const char *const codes[] = {"one", "two", "three"};
    return pick(3) == 0 ? satchel_value_null() : text(codes[pick(3)]);
}

static struct satchel_part random_write(struct world *world, enum satchel_op_kind kind,
                                        uint32_t row)
{
    struct kit *kit = &world->kit;
    uint32_t table = row / KEYS;
    char buffer[8];
    snprintf(buffer, sizeof buffer, "k%u", row % KEYS);
    const char *key = keep(world, buffer), *name = table_names[table];
    if (kind == SATCHEL_OP_DELETE)
        return kit_part(kit, kind, name, key, -1);
    switch (table) {
    case PERSON: return kit_part(kit, kind, name, key, 1, random_login(), -1);
    case MEMBER:
        return kit_part(kit, kind, name, key, 1, random_key(world), 2, random_value(world), -1);
    case ACCOUNT:
        return kit_part(kit, kind, name, key, 1, random_value(world), 2, random_value(world), -1);
    case NOTE:
        return kit_part(kit, kind, name, key, 1, random_kind(world), 2, random_key(world), -1);
    case TASK:
    case NODE:
        return kit_part(kit, kind, name, key, 1, random_key(world), 2, random_value(world), -1);
    case FIRM: return kit_part(kit, kind, name, key, 1, random_code(), 2, random_value(world), -1);
    case BADGE:
    case SECRET: return kit_part(kit, kind, name, key, 1, random_value(world), -1);
    case PAPER:
        return kit_part(kit, kind, name, key, 1, random_kind(world), 2, random_key(world), 3,
                        random_key(world), -1);
    default: return kit_part(kit, kind, name, key, 1, random_key(world), -1);
    }
}

static struct satchel_part random_part(struct world *world)
{
    uint32_t table = pick(TABLES), number = pick(KEYS);
    char count[120];
    if (pick(3) == 0)
        table = pick(4) == 0 ? FIRM : pick(2) ? ACCOUNT : NODE;
    snprintf(count, sizeof count, "SELECT count(*) FROM %s WHERE id='k%u'", table_names[table],
             number);
    bool exists = strcmp(kit_rows(&world->kit, count), "0") != 0;
    enum satchel_op_kind kind = !exists        ? SATCHEL_OP_INSERT
                                : pick(5) == 0 ? SATCHEL_OP_DELETE
                                               : SATCHEL_OP_UPDATE;
    return random_write(world, kind, table * KEYS + number);
}

static uint32_t row_of(uint32_t table, const struct satchel_value *key)
{
    return table * KEYS + (uint32_t)(key->bytes.data[1] - '0');
}

static void note_makers(struct world *world, int user, uint64_t cursor,
                        const struct satchel_part *parts, uint32_t count)
{
    for (uint32_t p = 0; p < count; p++) {
        uint32_t row = row_of(parts[p].table - 1, parts[p].key);
        if (parts[p].kind == SATCHEL_OP_INSERT && !world->maker[row]) {
            world->maker[row] = user;
            world->made_at[row] = cursor;
        }
    }
}

/* ---- rows that come and go within one commit ---- */

struct passing {
    uint32_t row;
    size_t first;                 /* of the change sets that write it, one after the other */
    struct satchel_part parts[3]; /* an insert, perhaps an update, a delete */
    uint32_t count;
};

/* Of a row that has never been. */
static void random_passing(struct world *world, struct passing *out)
{
    uint32_t row = pick(ROWS);
    out->count = 0;
    if (world->maker[row] || row / KEYS == FIRM) /* a firm may be one with another */
        return;
    out->row = row;
    out->first = pick(6);
    for (uint32_t i = 0; i < 3; i++) {
        struct satchel_part part = random_write(world,
                                                i == 0   ? SATCHEL_OP_INSERT
                                                : i == 1 ? SATCHEL_OP_UPDATE
                                                         : SATCHEL_OP_DELETE,
                                                row);
        if (i != 1 || pick(2))
            out->parts[out->count++] = part;
    }
}

/* Whether the part would be in their way: it writes one of them, or a firm, and what points at one
 * is made to point at another when the two are found to be one. */
static bool disturbs(const struct passing *passing, const struct satchel_part *part)
{
    for (int i = 0; i < PASSING; i++)
        if (passing[i].count > 0 &&
            (passing[i].row == row_of(part->table - 1, part->key) || part->table - 1 == FIRM))
            return true;
    return false;
}

/* What the model says of the row as it was last: while it stands in its table for a moment. */
static void keep_passing(struct world *world, const struct passing *passing)
{
    const char *table = table_names[passing->row / KEYS];
    sqlite3 *db = satchel_store_sqlite_db(world->kit.store);
    char sql[400];
    snprintf(sql, sizeof sql, "INSERT INTO %s(id) VALUES('k%u')", table, passing->row % KEYS);
    kit_run(&world->kit, sql);
    for (uint32_t i = 0; i < passing->count; i++)
        for (uint32_t f = 0; f < passing->parts[i].field_count; f++) {
            const struct satchel_field *field = &passing->parts[i].fields[f];
            snprintf(
                sql, sizeof sql, "UPDATE %s SET \"%s\"=?1 WHERE id='k%u'", table,
                world->kit.store->schema->tables[passing->row / KEYS].columns[field->column].name,
                passing->row % KEYS);
            struct satchel_query update;
            assert_ok(satchel_query_open(&update, db, sql, &world->kit.error));
            satchel_query_value(&update, &field->value);
            assert_ok(satchel_query_run(&update, &world->kit.error));
            satchel_query_close(&update);
        }
    snprintf(sql, sizeof sql,
             "INSERT INTO passing VALUES('%s:k%u');"
             "INSERT INTO passing_points SELECT child, parent FROM points WHERE child='%s:k%u';"
             "INSERT INTO passing_own SELECT row, value FROM own WHERE row='%s:k%u';"
             "DELETE FROM %s WHERE id='k%u'",
             table, passing->row % KEYS, table, passing->row % KEYS, table, passing->row % KEYS,
             table, passing->row % KEYS);
    kit_run(&world->kit, sql);
    world->passed_total++;
}

static void write_batch(struct world *world)
{
    struct satchel_incoming incoming[8];
    struct satchel_incoming_outcome outcomes[8];
    struct satchel_part parts[8][4 + PASSING];
    uint32_t part_counts[8];
    uint8_t devices[8];
    struct passing passing[PASSING] = {{0}};
    struct kit *kit = &world->kit;
    uint64_t seen = world->moments[world->count - 1].head;
    size_t count = pick(2) ? 8 : 1 + pick(8);
    for (int i = 0; i < PASSING && count == 8; i++) {
        struct passing one = {.count = 0};
        for (int attempt = 0; one.count == 0 && attempt < 8; attempt++)
            random_passing(world, &one);
        if (one.count > 0 && !disturbs(passing, &one.parts[0]))
            passing[i] = one;
    }
    for (size_t i = 0; i < count; i++) {
        part_counts[i] = 1 + pick(4);
        devices[i] = (uint8_t)(1 + pick(DEVICES));
        for (uint32_t p = 0; p < part_counts[i];) {
            parts[i][p] = random_part(world);
            p += !disturbs(passing, &parts[i][p]);
        }
        for (int k = 0; k < PASSING; k++)
            if (i >= passing[k].first && i < passing[k].first + passing[k].count) {
                devices[i] = 1; /* who deletes it has seen it */
                parts[i][part_counts[i]++] = passing[k].parts[i - passing[k].first];
            }
        incoming[i] = kit_changeset(kit, devices[i], ++world->numbers[devices[i]], ++world->ms,
                                    pick(4) ? seen : seen / 2, parts[i], part_counts[i]);
        incoming[i].is_forwarded = true; /* anybody writes anything here: not to be judged */
    }
    if (pick(6) == 0) { /* a batch that is rolled back leaves nothing */
        assert_ok(kit->store->ops->begin(kit->store, &kit->error));
        assert_ok(
            satchel_merge_batch(kit->store, incoming, count, KIT_NOW_MS, outcomes, &kit->error));
        kit->store->ops->rollback(kit->store);
    }
    kit_merge(kit, incoming, count, outcomes);
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].result != SATCHEL_INCOMING_MERGED)
            fail_msg("not merged: %s", outcomes[i].error.message);
    for (size_t i = 0; i < count; i++)
        note_makers(world, devices[i], outcomes[i].cursor, parts[i], part_counts[i]);
    for (int i = 0; i < PASSING; i++)
        if (passing[i].count > 0)
            keep_passing(world, &passing[i]);
}

/* ---- rights ---- */

enum sight { NEW, SEEN, FOREIGN };

static void read_survivors(struct world *world)
{
    for (uint32_t row = 0; row < ROWS; row++)
        world->survivor[row] = -1;
    sqlite3_stmt *statement = query(world, "SELECT a.number, b.number FROM stands"
                                           " JOIN names a ON a.row=stands.row"
                                           " JOIN names b ON b.row=stands.survivor");
    while (sqlite3_step(statement) == SQLITE_ROW)
        world->survivor[sqlite3_column_int(statement, 0)] = sqlite3_column_int(statement, 1);
    sqlite3_finalize(statement);
}

static enum sight sight_of(const struct world *world, uint32_t then, int user, uint32_t row)
{
    uint32_t table = row / KEYS;
    if (table == PERSON || table == MEMBER)
        return SEEN;
    if (!world->maker[row])
        return NEW;
    bool is_made = world->maker[row] == user && world->made_at[row] > world->moments[then].head;
    if (table != SECRET && !world->moments[world->count - 1].sets[row]) {
        if (world->survivor[row] < 0)
            return NEW; /* it came and went at once */
        row = (uint32_t)world->survivor[row];
    }
    return table != SECRET && (is_made || saw_ever(world, then, user - 1, row)) ? SEEN : FOREIGN;
}

static const struct satchel_value *field(const struct satchel_part *part, uint32_t column)
{
    for (uint32_t i = 0; i < part->field_count; i++)
        if (part->fields[i].column == column && part->fields[i].value.type == SATCHEL_TEXT)
            return &part->fields[i].value;
    return NULL;
}

static int table_named(const struct satchel_value *kind)
{
    for (int t = 0; kind && t < TABLES; t++)
        if (kind->bytes.size == strlen(table_names[t]) &&
            sqlite3_strnicmp((const char *)kind->bytes.data, table_names[t],
                             (int)kind->bytes.size) == 0)
            return t;
    return -1;
}

static bool may_write(const struct world *world, uint32_t then, int user,
                      const struct satchel_part *part)
{
    uint32_t table = part->table - 1;
    int targets[2] = {-1, -1};
    const struct satchel_value *keys[2] = {field(part, 1), NULL};
    bool is_foreign = false, is_good = false;
    if (table == SECRET)
        return false;
    enum sight sight = sight_of(world, then, user, row_of(table, part->key));
    if (sight != NEW)
        return sight == SEEN;
    switch (table) {
    case CONTACT: targets[0] = ACCOUNT; break;
    case PIN: targets[0] = SECRET; break;
    case TAG: targets[0] = PERSON; break;
    case OFFICE: targets[0] = FIRM; break;
    case PAPER: targets[1] = FIRM; keys[1] = field(part, 3); /* fall through */
    case NOTE:
        targets[0] = table_named(field(part, 1));
        keys[0] = field(part, 2);
        break;
    default: return true; /* by its own row */
    }
    for (int i = 0; i < 2; i++) {
        if (targets[i] < 0 || !keys[i])
            continue;
        sight = sight_of(world, then, user, row_of((uint32_t)targets[i], keys[i]));
        is_foreign = is_foreign || sight == FOREIGN;
        is_good = is_good || sight != FOREIGN;
    }
    return is_good || !is_foreign;
}

/* One write after the other, as devices push them. */
static void check_rights(struct world *world)
{
    struct kit *kit = &world->kit;
    for (int i = 0; i < RIGHTS; i++) {
        struct satchel_incoming_outcome outcome;
        uint32_t then = pick(3) ? world->count - 1 : pick(world->count);
        uint8_t device = (uint8_t)(1 + pick(DEVICES));
        struct satchel_part part = random_part(world);
        uint32_t row = row_of(part.table - 1, part.key);
        read_survivors(world);
        bool expected = may_write(world, then, device, &part);
        struct satchel_incoming incoming =
            kit_changeset(kit, device, ++world->numbers[device], ++world->ms,
                          world->moments[then].head, &part, 1);
        kit_merge(kit, &incoming, 1, &outcome);
        if ((outcome.quarantined_count == 0) != expected)
            fail_msg("user%d, who had seen %llu, %s %s:k%d", device,
                     (unsigned long long)world->moments[then].head,
                     expected ? "may not write" : "may write", table_names[row / KEYS], row % KEYS);
        if (expected)
            note_makers(world, device, outcome.cursor, &part, 1);
        world->written_total += expected;
        world->refused_total += !expected;
        look(world);
    }
}

/* ---- a world ---- */

static bool no(void *context)
{
    (void)context;
    return false;
}
static int64_t no_time(void *context)
{
    (void)context;
    return 0;
}
static const char *nobody(void *context)
{
    (void)context;
    return NULL;
}

static void make_names(struct world *world)
{
    kit_run(&world->kit, SQL_NAMES);
    for (uint32_t row = 0; row < ROWS; row++) {
        struct satchel_buffer name;
        char key[8], hex[128], insert[256];
        snprintf(key, sizeof key, "k%u", row % KEYS);
        struct satchel_value value = text(key);
        const struct satchel_table *table =
            satchel_schema_find(world->kit.store->schema, table_names[row / KEYS]);
        satchel_buffer_init(&name, 256, NULL);
        assert_ok(satchel_row_name(&name, table->number, &value, 1));
        world->names[row] = satchel_arena_copy(&world->kit.arena, satchel_buffer_span(&name));
        satchel_hex(satchel_buffer_span(&name), hex);
        snprintf(insert, sizeof insert, "INSERT INTO names VALUES(x'%s', '%s:%s', %u)", hex,
                 table->name, key, row);
        kit_run(&world->kit, insert);
        satchel_buffer_deinit(&name);
    }
    kit_run(&world->kit, model_sql);
    kit_run(&world->kit, seen_by_sql);
}

static void open_reader(struct world *world)
{
    world->identity = (struct satchel_identity){NULL, no, no_time, nobody, nobody, nobody};
    assert_ok(satchel_store_sqlite_reader(&world->reader, world->kit.path, &world->identity,
                                          &world->kit.error));
    assert_ok(scope_viewer_new(&world->viewer, world->reader, &world->kit.error));
}

static void close_reader(struct world *world)
{
    scope_viewer_free(world->viewer);
    sqlite3_close_v2(world->reader);
}

static void reopen(struct world *world)
{
    const char *stood =
        keep(world, kit_rows(&world->kit, "SELECT 'INSERT INTO stood VALUES'||group_concat("
                                          "'('||quote(row)||','||quote(v)||')') FROM stood"));
    close_reader(world);
    kit_reopen(&world->kit);
    make_names(world);
    kit_run(&world->kit, stood);
    open_reader(world);
}

/* What is kept of each set is what its rows come to. */
static void check_sums(struct world *world)
{
    const char *said = digest_oracle(world->reader, world->kit.store->schema);
    if (said)
        fail_msg("%s", said);
}

/* The same store as an earlier version would have left it, opened by this one. */
static void forget_scopes(struct world *world)
{
    struct kit *kit = &world->kit;
    close_reader(world);
    kit_run(kit, "DROP INDEX satchel_row_scope; ALTER TABLE satchel_row DROP COLUMN scope;"
                 "DROP TABLE satchel_scope; DROP TABLE satchel_scope_grant;"
                 "DROP TABLE satchel_move; DROP TABLE satchel_held_grant;"
                 "DROP TABLE satchel_grant_move; DROP TABLE satchel_digest; UPDATE "
                 "satchel_workspace SET format=3");
    kit_reopen(kit);
    make_names(world);
    open_reader(world);
}

static void play(uint64_t seed)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    kit_open(&world.kit, schema_sql);
    make_names(&world);
    open_reader(&world);
    look(&world);
    for (uint32_t i = 0; i < BATCHES; i++) {
        write_batch(&world);
        const struct moment *now = look(&world);
        check_kept(&world, now);
        check_seen(&world, now);
        check_rights(&world);
        check_sums(&world);
        if (pick(12) == 0)
            reopen(&world);
    }
    forget_scopes(&world);
    bool is_there[ROWS] = {false};
    sqlite3_stmt *statement = query(&world, SQL_SETS);
    while (sqlite3_step(statement) == SQLITE_ROW)
        is_there[sqlite3_column_int(statement, 0)] = true;
    sqlite3_finalize(statement);
    for (uint32_t row = 0; row < ROWS; row++) /* rows that are gone had none to keep */
        if (!is_there[row])
            world.moments[world.count - 1].sets[row] = NULL;
    check_kept(&world, &world.moments[world.count - 1]);
    check_sums(&world);
    printf("seed %llu: %llu rows left, %llu came (%llu had to), %llu passed, %llu writes may be"
           " made, %llu may not\n",
           (unsigned long long)seed, (unsigned long long)world.left_total,
           (unsigned long long)world.came_total, (unsigned long long)world.exact_total,
           (unsigned long long)world.passed_total, (unsigned long long)world.written_total,
           (unsigned long long)world.refused_total);
    close_reader(&world);
    kit_close(&world.kit);
}

static void test_scope__is_what_plain_sql_says(void **state)
{
    (void)state;
    const char *first = getenv("SATCHEL_SEED"), *count = getenv("SATCHEL_SEEDS");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 20261129;
    uint64_t seeds = count ? strtoull(count, NULL, 10) : 6;
    for (uint64_t i = 0; i < seeds; i++) {
        print_message("seed %llu\n", (unsigned long long)(seed + i));
        play(seed + i);
    }
}

static void test_scope__without_views_a_user_holds_the_login_and_what_was_granted(void **state)
{
    (void)state;
    static struct world world;
    memset(&world, 0, sizeof world);
    struct kit *kit = &world.kit;
    bool sees[3];
    kit_open(kit, "-- @table scope=row(owner) delete=edit_wins\n"
                  "CREATE TABLE account(id TEXT PRIMARY KEY, owner);");
    kit_push(kit, 1, 1, 1, 0, kit_part(kit, SATCHEL_OP_INSERT, "account", "a", 1, text("ann"), -1));
    kit_push(kit, 1, 2, 2, 1, kit_part(kit, SATCHEL_OP_INSERT, "account", "b", 1, text("r1"), -1));
    kit_push(kit, 1, 3, 3, 2, kit_part(kit, SATCHEL_OP_INSERT, "account", "c", 1, text("r2"), -1));
    assert_ok(kit->store->ops->begin(kit->store, &kit->error));
    kit_run(kit, "INSERT INTO satchel_user(login) VALUES('ann');"
                 "INSERT INTO satchel_grant VALUES('ann', 'r1'), ('nobody', 'r2')");
    satchel_store_sqlite_note_users(kit->store);
    assert_ok(kit->store->ops->commit(kit->store, &kit->error));
    assert_string_equal(kit_rows(kit, "SELECT * FROM satchel_held_grant"), "ann|ann\nann|r1");
    assert_string_equal(kit_rows(kit, "SELECT DISTINCT cursor, is_gained FROM satchel_grant_move"),
                        "4|1");
    open_reader(&world);
    assert_ok(
        scope_viewer_set(world.viewer, kit->store->schema, satchel_span_text("ann"), &kit->error));
    for (int i = 0; i < 3; i++) {
        struct satchel_buffer name;
        struct satchel_value key = text((const char *[]){"a", "b", "c"}[i]);
        satchel_buffer_init(&name, 64, NULL);
        assert_ok(satchel_row_name(&name, 1, &key, 1));
        assert_ok(scope_sees(world.viewer, &kit->store->schema->tables[0],
                             satchel_buffer_span(&name), &sees[i], &kit->error));
        satchel_buffer_deinit(&name);
    }
    assert_true(sees[0] && sees[1] && !sees[2]);
    close_reader(&world);
    kit_close(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scope__is_what_plain_sql_says),
        cmocka_unit_test(test_scope__without_views_a_user_holds_the_login_and_what_was_granted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
