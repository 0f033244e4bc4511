/* Owns what does not work yet: refused by name, with what to use meanwhile. Comes after every other
 * check, so that a schema whose mistakes are mended needs no second look. */
#include "schema_build.h"

static enum satchel_status refuse_table(struct satchel_build *build,
                                        const struct satchel_build_table *from)
{
    const struct satchel_table *table = satchel_build_table_made(build, from);
    if (table->retain_days)
        return satchel_refuse(build->error, from->annotation_place,
                              "retain= of %s is not built yet; take it out, and everything is kept",
                              from->name);
    return SATCHEL_OK;
}

enum satchel_status satchel_build_refuse_unbuilt(struct satchel_build *build)
{
    for (uint32_t t = 0; t < build->table_count; t++) {
        const struct satchel_build_table *from = &build->tables[t];
        const struct satchel_table *table = satchel_build_table_made(build, from);
        enum satchel_status status = table->is_local ? SATCHEL_OK : refuse_table(build, from);
        if (status != SATCHEL_OK)
            return status;
    }
    return SATCHEL_OK;
}

enum satchel_status satchel_build_scope_notice(struct satchel_build *build)
{
    enum { NAMES_SHOWN = 5 };
    struct satchel_buffer text;
    uint32_t count = 0;
    if (build->schema->defines_grants)
        return SATCHEL_OK;
    satchel_buffer_init(&text, 4096, NULL);
    enum satchel_status status = satchel_buffer_format(
        &text, "no view satchel_grants: a user gets rows by the login and by what satchel user add"
               " --grant gave, of ");
    for (uint32_t t = 0; status == SATCHEL_OK && t < build->table_count; t++) {
        const struct satchel_table *table = &build->schema->tables[t];
        if (!table->is_scoped)
            continue;
        if (++count <= NAMES_SHOWN)
            status = satchel_buffer_format(&text, "%s%.128s", count > 1 ? ", " : "", table->name);
    }
    if (status == SATCHEL_OK && count > NAMES_SHOWN)
        status = satchel_buffer_format(&text, " and %u more", count - NAMES_SHOWN);
    if (status == SATCHEL_OK && count > 0) {
        build->schema->scope_notice =
            (const char *)satchel_arena_copy(build->keep, satchel_buffer_span(&text)).data;
        if (!build->schema->scope_notice)
            status = SATCHEL_NOMEM;
    }
    satchel_buffer_deinit(&text);
    return status == SATCHEL_OK ? SATCHEL_OK : satchel_build_no_memory(build);
}
