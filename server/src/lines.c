/* Owns whose change set is what was given back: the place of each in the lines of devices. */
#include "lines.h"

#define SQL_PARENT "SELECT parent, parent_number FROM satchel_device WHERE id=?1"
#define SQL_HASH                                                               \
    "SELECT h.hash FROM satchel_id i JOIN satchel_hash h ON h.device=i.number" \
    " AND h.number=?2 WHERE i.id=?1"
#define SQL_DEVICE                                                                            \
    "SELECT user, token NOTNULL, last_number, coalesce(parent_number, 0) FROM satchel_device" \
    " WHERE id=?1"
/* A copy has the user of what it is a copy of. */
#define SQL_HOLDERS                                                                              \
    "SELECT d.id, h.hash FROM satchel_device d CROSS JOIN satchel_id i ON i.id=d.id CROSS JOIN " \
    "satchel_hash h ON h.device=i.number AND h.number=?1 WHERE d.user=?2"

enum { LINE_DEVICES_MAX = 1 << 20, ANCESTORS_MAX = SATCHEL_VECTOR_COUNT_MAX };

struct line_device {
    struct satchel_id id;
    bool is_known, has_token;
    struct satchel_span user;
    uint64_t last_number, parent_number;
};

/* ---- any connection ---- */

enum satchel_status line_author(sqlite3 *db, struct satchel_id *device, uint64_t number,
                                struct satchel_error *error)
{
    struct satchel_query query;
    enum satchel_status status = satchel_query_open(&query, db, SQL_PARENT, error);
    bool is_parents = true;
    if (status != SATCHEL_OK)
        return status;
    for (int i = 0; status == SATCHEL_OK && is_parents && i < ANCESTORS_MAX; i++) {
        bool has_row = false;
        struct satchel_id parent;
        satchel_query_begin(&query, db, query.statement);
        satchel_query_id(&query, device);
        status = satchel_query_step(&query, &has_row, error);
        is_parents = status == SATCHEL_OK && has_row && number > 0 &&
                     number <= (uint64_t)sqlite3_column_int64(query.statement, 1) &&
                     satchel_column_id(query.statement, 0, &parent);
        if (is_parents)
            *device = parent;
        satchel_query_end(&query);
    }
    satchel_query_close(&query);
    return status;
}

static enum satchel_status read_mark(sqlite3 *db, const struct satchel_id *device, uint64_t number,
                                     uint64_t *mark, struct satchel_error *error)
{
    struct satchel_query query;
    bool has_row = false;
    *mark = 0;
    enum satchel_status status = satchel_query_open(&query, db, SQL_HASH, error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, device);
    satchel_query_integer(&query, (int64_t)number);
    status = satchel_query_step(&query, &has_row, error);
    if (status == SATCHEL_OK && has_row) {
        struct satchel_span hash = satchel_column_span(query.statement, 0);
        *mark = hash.size == SATCHEL_HASH_BYTES ? satchel_entry_mark(hash.data) : 0;
    }
    satchel_query_close(&query);
    return status;
}

enum satchel_status line_previous(sqlite3 *db, const struct satchel_id *device, uint64_t number,
                                  uint64_t *mark, struct satchel_error *error)
{
    struct satchel_id author = *device;
    *mark = 0;
    if (number <= 1)
        return SATCHEL_OK;
    enum satchel_status status = line_author(db, &author, number - 1, error);
    return status == SATCHEL_OK ? read_mark(db, &author, number - 1, mark, error) : status;
}

/* ---- the devices of a batch ---- */

static sqlite3 *db_of(const struct lines *lines)
{
    return satchel_store_sqlite_db(lines->workspace->store);
}

void lines_init(struct lines *lines, struct satchel_workspace *workspace,
                struct satchel_arena *arena, struct satchel_error *error)
{
    *lines = (struct lines){.workspace = workspace, .arena = arena, .error = error};
    satchel_map_init(&lines->devices, LINE_DEVICES_MAX, NULL);
    satchel_map_init(&lines->placed, LINE_DEVICES_MAX, NULL);
}

void lines_deinit(struct lines *lines)
{
    satchel_map_deinit(&lines->devices);
    satchel_map_deinit(&lines->placed);
}

static enum satchel_status read_device(struct lines *lines, struct line_device *device)
{
    struct satchel_query query;
    bool has_row = false;
    enum satchel_status status = satchel_query_open(&query, db_of(lines), SQL_DEVICE, lines->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_id(&query, &device->id);
    status = satchel_query_step(&query, &has_row, lines->error);
    device->is_known = status == SATCHEL_OK && has_row;
    if (device->is_known) {
        device->user = satchel_column_copy(query.statement, 0, lines->arena);
        device->has_token = sqlite3_column_int(query.statement, 1) != 0;
        device->last_number = (uint64_t)sqlite3_column_int64(query.statement, 2);
        device->parent_number = (uint64_t)sqlite3_column_int64(query.statement, 3);
        if (!device->user.data)
            status = satchel_error_set(lines->error, SATCHEL_NOMEM, "no memory for a device");
    }
    satchel_query_close(&query);
    return status;
}

static enum satchel_status get(struct lines *lines, const struct satchel_id *id,
                               struct line_device **out)
{
    struct satchel_span key = satchel_span_of(id->bytes, sizeof id->bytes);
    struct line_device *device = satchel_map_get(&lines->devices, key);
    *out = device;
    if (device)
        return SATCHEL_OK;
    *out = device = SATCHEL_ARENA_ARRAY(lines->arena, struct line_device, 1);
    if (!device)
        return SATCHEL_NOMEM;
    device->id = *id;
    enum satchel_status status = read_device(lines, device);
    key = satchel_span_of(device->id.bytes, sizeof device->id.bytes);
    return status == SATCHEL_OK ? satchel_map_put(&lines->devices, key, device) : status;
}

static enum satchel_status is_ancestor(struct lines *lines, const struct line_device *device,
                                       const struct satchel_id *of, bool *out)
{
    struct satchel_id at = *of;
    struct satchel_query query;
    bool has_parent = true;
    *out = false;
    enum satchel_status status = satchel_query_open(&query, db_of(lines), SQL_PARENT, lines->error);
    if (status != SATCHEL_OK)
        return status;
    for (int i = 0; status == SATCHEL_OK && has_parent && !*out && i < ANCESTORS_MAX; i++) {
        bool has_row = false;
        *out = satchel_id_equal(&at, &device->id);
        satchel_query_begin(&query, db_of(lines), query.statement);
        satchel_query_id(&query, &at);
        status = satchel_query_step(&query, &has_row, lines->error);
        has_parent = status == SATCHEL_OK && has_row && satchel_column_id(query.statement, 0, &at);
        satchel_query_end(&query);
    }
    satchel_query_close(&query);
    return status;
}

/* Whether the device may go on from `number` of another one's line, though it was thought to do so
 * from elsewhere: nothing of its own is held. */
static enum satchel_status may_go_on(struct lines *lines, const struct line_device *device,
                                     const struct satchel_id *line, uint64_t number, bool *out)
{
    bool is_above = false;
    *out = device->last_number == device->parent_number && device->parent_number <= number &&
           !satchel_id_equal(&device->id, line);
    enum satchel_status status = *out ? is_ancestor(lines, device, line, &is_above) : SATCHEL_OK;
    *out = *out && !is_above;
    return status;
}

/* `device` goes on from change set `number` of `parent`. */
static enum satchel_status go_on_from(struct lines *lines, struct line_device *device,
                                      const struct line_device *parent, uint64_t number)
{
    enum satchel_status status = copy_place(lines->workspace, &device->id, parent->user,
                                            &parent->id, number, lines->arena, lines->error);
    if (!device->is_known)
        device->user = parent->user;
    device->is_known = true;
    device->last_number = device->parent_number = number;
    return status;
}

/* ---- who holds what ---- */

struct place_key {
    uint8_t bytes[16];
};

static struct place_key key_of(uint64_t number, uint64_t mark)
{
    struct place_key key;
    for (size_t i = 0; i < 8; i++) {
        key.bytes[i] = (uint8_t)(number >> (8 * i));
        key.bytes[8 + i] = (uint8_t)(mark >> (8 * i));
    }
    return key;
}

static const struct satchel_id *placed(const struct lines *lines, uint64_t number, uint64_t mark)
{
    struct place_key key = key_of(number, mark);
    return satchel_map_get(&lines->placed, satchel_span_of(key.bytes, sizeof key.bytes));
}

static enum satchel_status note_placed(struct lines *lines, struct line_device *device,
                                       uint64_t number, uint64_t mark)
{
    struct place_key key = key_of(number, mark);
    struct satchel_span kept =
        satchel_arena_copy(lines->arena, satchel_span_of(key.bytes, sizeof key.bytes));
    if (!kept.data)
        return SATCHEL_NOMEM;
    if (number == device->last_number + 1)
        device->last_number = number;
    return satchel_map_put(&lines->placed, kept, &device->id);
}

/* Whether that change set is in the device's line; then `*author` is whose it is. */
static enum satchel_status line_holds(struct lines *lines, const struct line_device *device,
                                      uint64_t number, uint64_t mark, struct satchel_id *author,
                                      bool *out)
{
    uint64_t held = 0;
    *author = device->id;
    *out = false;
    if (!device->is_known || number > device->last_number)
        return SATCHEL_OK;
    enum satchel_status status = line_author(db_of(lines), author, number, lines->error);
    const struct satchel_id *new_one = placed(lines, number, mark);
    *out = new_one && satchel_id_equal(new_one, author);
    if (status == SATCHEL_OK && !*out)
        status = read_mark(db_of(lines), author, number, &held, lines->error);
    *out = *out || held == mark;
    return status;
}

/* Whoever of the user's devices holds it. */
static enum satchel_status find_holder(struct lines *lines, struct satchel_span user,
                                       uint64_t number, uint64_t mark, struct satchel_id *out,
                                       bool *found)
{
    struct satchel_query query;
    const struct satchel_id *new_one = placed(lines, number, mark);
    bool has_row = true;
    *found = new_one != NULL;
    if (new_one)
        *out = *new_one;
    if (*found)
        return SATCHEL_OK;
    enum satchel_status status =
        satchel_query_open(&query, db_of(lines), SQL_HOLDERS, lines->error);
    if (status != SATCHEL_OK)
        return status;
    satchel_query_integer(&query, (int64_t)number);
    satchel_query_text(&query, user);
    while (status == SATCHEL_OK && !*found && has_row) {
        status = satchel_query_step(&query, &has_row, lines->error);
        if (status != SATCHEL_OK || !has_row)
            break;
        struct satchel_span hash = satchel_column_span(query.statement, 1);
        *found = hash.size == SATCHEL_HASH_BYTES && satchel_entry_mark(hash.data) == mark &&
                 satchel_column_id(query.statement, 0, out);
    }
    satchel_query_close(&query);
    return status;
}

/* ---- the place of one ---- */

struct newcomer {
    const struct satchel_entry *entry; /* of which device, number and previous are looked at */
    const uint8_t *hash;
    uint64_t mark;
    struct satchel_span user;
    struct line_device *device; /* that it was the change set of */
};

/* It is held: by that device, or by another one whose line is the same up to there; also where this
 * store knows of no copy, and has lost that the two were ever one. */
static enum satchel_status find_held(struct lines *lines, const struct newcomer *newcomer,
                                     struct satchel_id *out, bool *found)
{
    uint64_t number = newcomer->entry->number;
    struct line_device *device = newcomer->device, *holder;
    bool may_follow = false;
    enum satchel_status status = line_holds(lines, device, number, newcomer->mark, out, found);
    if (status != SATCHEL_OK || *found)
        return status;
    status = find_holder(lines, newcomer->user, number, newcomer->mark, out, found);
    if (status == SATCHEL_OK && *found && device->is_known)
        status = may_go_on(lines, device, out, number, &may_follow);
    if (status != SATCHEL_OK || !may_follow)
        return status;
    status = get(lines, out, &holder);
    return status == SATCHEL_OK ? go_on_from(lines, device, holder, number) : status;
}

/* The device in whose line the change set before it is. */
static enum satchel_status find_line(struct lines *lines, const struct newcomer *newcomer,
                                     struct line_device **out)
{
    const struct satchel_entry *entry = newcomer->entry;
    struct satchel_id holder;
    bool found = false;
    *out = newcomer->device;
    if (entry->number <= 1 || entry->previous == 0)
        return SATCHEL_OK;
    enum satchel_status status =
        line_holds(lines, *out, entry->number - 1, entry->previous, &holder, &found);
    if (status != SATCHEL_OK || found)
        return status;
    status =
        find_holder(lines, newcomer->user, entry->number - 1, entry->previous, &holder, &found);
    *out = NULL;
    return status == SATCHEL_OK && found ? get(lines, &holder, out) : status;
}

/* Its number is another's in the line that it goes on from: it is a copy's, as it would be if its
 * author had said COPY. */
static enum satchel_status part(struct lines *lines, const struct newcomer *newcomer,
                                const struct line_device *line, struct line_device **out)
{
    uint64_t common = newcomer->entry->number - 1;
    struct satchel_id id = satchel_copy_id(&line->id, common, newcomer->hash);
    enum satchel_status status = get(lines, &id, out);
    return status == SATCHEL_OK && !(*out)->is_known ? go_on_from(lines, *out, line, common)
                                                     : status;
}

static enum satchel_status go_on(struct lines *lines, const struct newcomer *newcomer,
                                 struct line_device *line, struct line_device **out)
{
    struct line_device *device = newcomer->device;
    uint64_t common = newcomer->entry->number - 1;
    bool is_next = line->last_number == common || !line->is_known, may_follow;
    enum satchel_status status = may_go_on(lines, device, &line->id, common, &may_follow);
    if (status != SATCHEL_OK)
        return status;
    *out = line;
    if (is_next && !(may_follow && device->has_token))
        return SATCHEL_OK;
    *out = device;
    if (may_follow)
        return go_on_from(lines, device, line, common);
    return part(lines, newcomer, line, out);
}

enum satchel_status lines_place(struct lines *lines, const struct satchel_entry *entry,
                                const uint8_t hash[SATCHEL_HASH_BYTES], struct satchel_id *device,
                                bool *is_placed)
{
    struct newcomer newcomer = {.entry = entry, .hash = hash, .mark = satchel_entry_mark(hash)};
    struct line_device *line = NULL, *out = NULL;
    *is_placed = false;
    enum satchel_status status = get(lines, &entry->device, &newcomer.device);
    if (status != SATCHEL_OK)
        return status;
    newcomer.user = newcomer.device->is_known ? newcomer.device->user : entry->user;
    status = find_held(lines, &newcomer, device, is_placed);
    if (status != SATCHEL_OK || *is_placed)
        return status;
    status = find_line(lines, &newcomer, &line);
    if (status == SATCHEL_OK && line)
        status = go_on(lines, &newcomer, line, &out);
    if (status != SATCHEL_OK || !out)
        return status;
    if (!out->is_known) /* an author that joined after the moment to which this node was put back */
        status = lines->workspace->store->ops->add_device(
            lines->workspace->store, &out->id, entry->user, workspace_now_ms(), lines->error);
    if (!out->is_known)
        out->user = entry->user;
    out->is_known = true;
    *device = out->id;
    *is_placed = true;
    return status == SATCHEL_OK ? note_placed(lines, out, entry->number, newcomer.mark) : status;
}

enum satchel_status lines_meet(struct lines *lines, uint64_t number,
                               const uint8_t hash[SATCHEL_HASH_BYTES], struct satchel_id *device,
                               bool *is_elsewhere, bool *is_copy)
{
    const struct satchel_entry entry = {.device = *device, .number = number};
    struct newcomer newcomer = {.entry = &entry, .hash = hash, .mark = satchel_entry_mark(hash)};
    struct satchel_id holder, author = *device;
    bool found = false;
    *is_elsewhere = *is_copy = false;
    enum satchel_status status = get(lines, device, &newcomer.device);
    if (status != SATCHEL_OK || !newcomer.device->is_known)
        return status;
    newcomer.user = newcomer.device->user;
    status = find_held(lines, &newcomer, &holder, &found);
    if (status == SATCHEL_OK && found)
        status = line_author(db_of(lines), &author, number, lines->error);
    if (status != SATCHEL_OK || !found || satchel_id_equal(&holder, device))
        return status;
    *is_elsewhere = true;
    *is_copy = !satchel_id_equal(&holder, &author);
    *device = holder;
    return SATCHEL_OK;
}
