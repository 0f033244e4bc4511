/* Owns judging the views and triggers of a build: that they compile on a server, that the
 * workspace's views have their columns, and that no trigger writes a synced table during apply or
 * hides a write from capture. */
#include "schema_build.h"
#include "schema_internal.h"

#include <satchel/sqlite.h>

static struct satchel_place place_of(const struct satchel_build *build,
                                     enum satchel_object_kind kind, const char *name)
{
    struct satchel_place nowhere = {"schema", 0};
    for (uint32_t i = 0; i < build->object_count; i++)
        if (build->objects[i].kind == kind && satchel_names_equal(build->objects[i].name, name))
            return build->objects[i].place;
    return nowhere;
}

static const struct workspace_view {
    const char *name, *columns;
} workspace_views[] = {
    {"satchel_users", "login, id, role, active"},
    {"satchel_grants", "user, value"},
    {"satchel_states", "machine, code, rank, closed, back_to"},
    {"satchel_numbers", "tbl, col, series, format"},
};

static const struct workspace_view *workspace_view_of(const char *name)
{
    for (size_t i = 0; i < sizeof workspace_views / sizeof workspace_views[0]; i++)
        if (satchel_names_equal(workspace_views[i].name, name))
            return &workspace_views[i];
    return NULL;
}

/* An application may give its connections functions and modules of its own, and its views may read
 * what Satchel keeps in a replica: neither exists here. */
static bool may_work_elsewhere(const char *message)
{
    return strstr(message, "no such function") || strstr(message, "no such module") ||
           strstr(message, "no such table-valued function") || strstr(message, "satchel_");
}

static enum satchel_status check_view(struct satchel_build *build,
                                      const struct satchel_build_object *view)
{
    const struct workspace_view *known = workspace_view_of(view->name);
    sqlite3_stmt *prepared = NULL;
    char *sql =
        sqlite3_mprintf("SELECT %s FROM main.\"%w\"", known ? known->columns : "*", view->name);
    if (!sql)
        return satchel_build_no_memory(build);
    int code = sqlite3_prepare_v2(build->db, sql, -1, &prepared, NULL);
    sqlite3_finalize(prepared);
    sqlite3_free(sql);
    const char *message = sqlite3_errmsg(build->db);
    if (code == SQLITE_OK || (!known && may_work_elsewhere(message)))
        return SATCHEL_OK;
    if (code == SQLITE_NOMEM)
        return satchel_build_no_memory(build);
    if (known)
        return satchel_refuse(
            build->error, view->place,
            "the view %s cannot be read (SQLite says: %s); it has the columns %s and "
            "uses SQLite's functions only",
            known->name, message, known->columns);
    return satchel_refuse(build->error, view->place,
                          "the view %s cannot be read (SQLite says: %s); correct it", view->name,
                          message);
}

enum satchel_status satchel_build_check_views(struct satchel_build *build)
{
    enum satchel_status status = SATCHEL_OK;
    for (uint32_t i = 0; status == SATCHEL_OK && i < build->object_count; i++) {
        const struct satchel_build_object *object = &build->objects[i];
        if (object->kind != SATCHEL_OBJECT_VIEW)
            continue;
        status = check_view(build, object);
        struct satchel_schema *schema = build->schema;
        schema->defines_users |= satchel_names_equal(object->name, "satchel_users");
        schema->defines_grants |= satchel_names_equal(object->name, "satchel_grants");
        schema->defines_states |= satchel_names_equal(object->name, "satchel_states");
        schema->defines_numbers |= satchel_names_equal(object->name, "satchel_numbers");
    }
    return status;
}

enum satchel_status satchel_build_check_triggers(struct satchel_build *build)
{
    struct satchel_trigger_offence offence;
    enum satchel_status status = satchel_triggers_find_offence(
        build->db, build->schema, true, &build->arena, &offence, build->error);
    if (status != SATCHEL_OK)
        return status;
    if (offence.broken)
        return satchel_refuse(
            build->error, place_of(build, SATCHEL_OBJECT_TRIGGER, offence.broken),
            "the trigger %s cannot run (SQLite says: %s); correct it, and use SQLite's "
            "and Satchel's functions only, because the server runs it too",
            offence.broken, offence.reason);
    if (offence.raise)
        return satchel_refuse(
            build->error, place_of(build, SATCHEL_OBJECT_TRIGGER, offence.trigger),
            "the trigger %s on %s calls %s", offence.trigger, offence.on, offence.raise);
    if (offence.trigger)
        return satchel_refuse(
            build->error, place_of(build, SATCHEL_OBJECT_TRIGGER, offence.trigger),
            "the trigger %s on %s writes the synced table %s when sync applies changes, "
            "which were captured where they first happened; add WHEN NOT "
            "satchel_applying()",
            offence.trigger, offence.on, offence.written);
    return SATCHEL_OK;
}
