/* Owns the server of the whole-system test: a workspace without threads, whose job functions are
 * called one after the other, and the server's half of each session as the hub has it. */
#include "system_world.h"

#include "../unit/replica_fixture.h"
#include "incarnation.h"

#include <unistd.h>

/* ---- jobs ---- */

static void complete(void *context, struct satchel_workspace *workspace, struct satchel_job *job)
{
    struct system_world *world = context;
    (void)workspace;
    if (job->kind == SATCHEL_JOB_PUSH) {
        job->next = world->done; /* a group's jobs */
        world->done = job;
    } else {
        world->done = job;
    }
}

static void advanced(void *context, struct satchel_workspace *workspace, uint64_t head)
{
    struct system_world *world = context;
    (void)workspace;
    world->head = head;
}

static void log_line(void *context, const char *line)
{
    system_trace(context, "  server: %s", line);
    system_check(context, !strstr(line, "have not come back"), "something lost did not come back");
}

static struct satchel_job *new_job(struct system_world *world, enum satchel_job_kind kind)
{
    struct satchel_job *job = satchel_job_new(kind);
    system_check(world, job != NULL, "no memory");
    job->owner = world;
    return job;
}

static void run_job(struct system_world *world, struct satchel_job *job)
{
    world->done = NULL;
    if (job->kind == SATCHEL_JOB_SCHEMA || job->kind == SATCHEL_JOB_ENTRIES ||
        job->kind == SATCHEL_JOB_ROWS || job->kind == SATCHEL_JOB_DIGESTS ||
        job->kind == SATCHEL_JOB_RANGES)
        workspace_read(&world->server, &world->server.readers[THREAD_STREAM], job);
    else
        workspace_write(&world->server, job);
    system_check(world, world->done == job, "a job was not completed");
}

/* ---- life ---- */

void system_server_open(struct system_world *world)
{
    struct satchel_workspace *server = &world->server;
    struct satchel_error error = {0};
    memset(server, 0, sizeof *server);
    snprintf(server->path, sizeof server->path, "%s/test.db", world->folder);
    server->callbacks = (struct satchel_workspace_callbacks){world, complete, advanced, log_line};
    snprintf(server->name, sizeof server->name, "test");
    satchel_map_init(&server->progress, WORKSPACE_DEVICES_MAX, NULL);
    satchel_arena_init(&server->progress_arena, SIZE_MAX / 2, NULL);
    pthread_mutex_init(&server->progress_mutex, NULL);
    system_ok(world, satchel_store_sqlite_open(&server->store, server->path, &error),
              "open the store", &error);
    system_ok(
        world,
        satchel_db_exec(satchel_store_sqlite_db(server->store), "PRAGMA synchronous=OFF", &error),
        "set up the store", &error);
    system_ok(world, reader_open(&server->readers[THREAD_STREAM], server->path, &error),
              "open a reader", &error);
    world->head = (uint64_t)system_integer(world, satchel_store_sqlite_db(server->store),
                                           "SELECT cursor FROM satchel_workspace");
    world->is_server_open = true;
}

void system_server_close(struct system_world *world)
{
    struct satchel_workspace *server = &world->server;
    if (!world->is_server_open)
        return;
    world->is_server_open = false;
    reader_close(&server->readers[THREAD_STREAM]);
    server->store->ops->close(server->store);
    satchel_map_deinit(&server->progress);
    satchel_arena_deinit(&server->progress_arena);
    pthread_mutex_destroy(&server->progress_mutex);
}

void system_server_admin(struct system_world *world, const char *verb, ...)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_ADMIN);
    struct satchel_value arguments[16] = {satchel_value_text(satchel_span_text(verb))};
    struct satchel_message message = {.kind = SATCHEL_MESSAGE_ADMIN};
    const char *argument;
    uint32_t count = 1;
    va_list list;
    va_start(list, verb);
    while ((argument = va_arg(list, const char *)) != NULL) {
        system_check(world, count < 16, "too many arguments");
        arguments[count++] = satchel_value_text(satchel_span_text(argument));
    }
    va_end(list);
    system_server_flush(world);
    message.admin.arguments = arguments;
    message.admin.argument_count = count;
    system_ok(world, satchel_job_take_request(job, &message), verb, NULL);
    run_job(world, job);
    system_ok(world, job->status, verb, &job->error);
    satchel_job_free(job);
}

void system_server_deploy(struct system_world *world)
{
    const struct satchel_migration *migrations = world->migrations;
    system_server_admin(world, "workspace.deploy", "test", (const char *)migrations[0].name.data,
                        (const char *)migrations[0].sql.data, (const char *)migrations[1].name.data,
                        (const char *)migrations[1].sql.data, NULL);
    world->is_deployed = true;
    system_counts.migrations++;
    for (unsigned i = 0; i < world->device_count; i++) {
        struct system_device *device = &world->devices[i];
        device->link.peer.needs_schema = device->link.peer.is_attached;
        device->parked.peer.needs_schema = device->parked.peer.is_attached;
    }
}

/* ---- backup and restore ---- */

static void backup_path(const struct system_world *world, char *path, size_t size)
{
    snprintf(path, size, "%s/backup", world->folder);
}

void system_server_back_up(struct system_world *world)
{
    char path[128], sql[200];
    struct satchel_error error = {0};
    backup_path(world, path, sizeof path);
    unlink(path);
    snprintf(sql, sizeof sql, "VACUUM INTO '%s'", path);
    system_trace(world, "the server is backed up");
    system_ok(world, satchel_db_exec(satchel_store_sqlite_db(world->server.store), sql, &error),
              "back up", &error);
    world->has_backup = true;
    world->was_deployed = world->is_deployed;
    system_counts.backups++;
}

void system_server_restore(struct system_world *world)
{
    char path[128];
    struct satchel_error error = {0};
    backup_path(world, path, sizeof path);
    system_trace(world, "the server is restored");
    system_server_close(world);
    fixture_remove(world->server.path);
    sqlite3 *backup = NULL;
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", world->server.path);
    system_check(world,
                 sql && sqlite3_open(path, &backup) == SQLITE_OK &&
                     sqlite3_exec(backup, sql, NULL, NULL, NULL) == SQLITE_OK,
                 "the backup cannot be put back: %s", sqlite3_errmsg(backup));
    sqlite3_free(sql);
    sqlite3_close(backup);
    system_server_open(world);
    system_ok(world, incarnation_begin(satchel_store_sqlite_db(world->server.store), &error),
              "begin an incarnation", &error);
    world->was_restored = true;
    system_counts.restores++;
}

/* ---- uploads ---- */

static void add_push(struct system_world *world, struct system_peer *peer,
                     const struct satchel_message *message)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_PUSH);
    job->device = peer->device;
    job->owner_number = peer->number;
    system_ok(world, satchel_job_take_request(job, message), "take a push", NULL);
    if (world->last_push)
        world->last_push->next = job;
    else
        world->pushes = job;
    world->last_push = job;
}

static void acknowledge(struct system_world *world, const struct satchel_job *job)
{
    for (unsigned i = 0; i < world->device_count; i++) {
        struct system_peer *peers[] = {&world->devices[i].link.peer,
                                       &world->devices[i].parked.peer};
        for (int j = 0; j < 2; j++)
            if (peers[j]->is_attached && peers[j]->number == job->owner_number &&
                peers[j]->acked_number < job->acked_number)
                peers[j]->acked_number = job->acked_number;
    }
}

void system_server_flush(struct system_world *world)
{
    struct satchel_job *jobs = world->pushes;
    if (!jobs)
        return;
    system_counts.group_commits += jobs->next != NULL;
    world->pushes = world->last_push = NULL;
    world->done = NULL;
    uint64_t before = world->head;
    size_t items = 0;
    for (struct satchel_job *job = jobs; job; job = job->next)
        items += job->request.push.item_count;
    workspace_write(&world->server, jobs);
    system_counts.duplicates += items - (size_t)(world->head - before);
    while (world->done) {
        struct satchel_job *job = world->done;
        world->done = job->next;
        system_ok(world, job->status, "merge a push", &job->error);
        acknowledge(world, job);
        satchel_job_free(job);
    }
}

/* ---- sessions ---- */

void system_peer_open(struct system_world *world, struct system_peer *peer)
{
    const struct satchel_session_options options = {.size = sizeof options,
                                                    .side = SATCHEL_SIDE_SERVER};
    const struct satchel_now now = {world->now_ms, world->now_ms};
    memset(peer, 0, sizeof *peer);
    peer->number = ++world->next_peer;
    system_ok(world, satchel_session_new(&peer->session, &options, now), "begin a session", NULL);
}

void system_peer_close(struct system_world *world, struct system_peer *peer)
{
    (void)world;
    satchel_session_free(peer->session);
    memset(peer, 0, sizeof *peer);
}

static void say(struct system_world *world, struct system_peer *peer,
                const struct satchel_message *message)
{
    system_ok(world, satchel_session_send(peer->session, message), "say something", NULL);
}

static void attach(struct system_world *world, struct system_peer *peer,
                   const struct satchel_message *message)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_ATTACH);
    system_server_flush(world); /* an attach stands in line behind earlier uploads */
    system_ok(world, satchel_job_take_request(job, message), "attach", NULL);
    run_job(world, job);
    system_ok(world, job->status, "attach", &job->error);
    const struct satchel_message_welcome *welcome = &job->answers[0].welcome;
    const struct satchel_message_hello *hello = &message->hello;
    peer->is_attached = true;
    peer->device = hello->device;
    peer->schema = hello->schema;
    peer->needs_schema = hello->schema < welcome->schema;
    peer->cursor = welcome->cursor;
    peer->scope = job->scope;
    peer->acked_number = peer->acked_said = welcome->last_number;
    say(world, peer, &job->answers[0]);
    satchel_job_free(job);
}

static void forward(struct system_world *world, struct system_peer *peer,
                    const struct satchel_message *message)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_FORWARD);
    system_server_flush(world);
    system_ok(world, satchel_job_take_request(job, message), "take what is given back", NULL);
    run_job(world, job);
    system_ok(world, job->status, "take what is given back", &job->error);
    for (uint32_t i = 0; i < message->forward.entry_count; i++)
        if (satchel_id_equal(&message->forward.entries[i].device, &peer->device) &&
            message->forward.entries[i].number == peer->acked_number + 1)
            peer->acked_said = ++peer->acked_number;
    system_counts.entries_forwarded += message->forward.entry_count;
    say(world, peer, &job->answers[0]);
    satchel_job_free(job);
}

static void say_rows(struct system_world *world, struct system_peer *peer,
                     const struct satchel_message *message)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_ROWS);
    job->device = peer->device;
    system_ok(world, satchel_job_take_request(job, message), "read rows", NULL);
    run_job(world, job);
    system_ok(world, job->status, "read rows", &job->error);
    system_counts.rows_asked += message->rows_request.row_count;
    say(world, peer, &job->answers[0]);
    satchel_job_free(job);
}

static void say_digests(struct system_world *world, struct system_peer *peer,
                        enum satchel_job_kind kind, const struct satchel_message *message)
{
    struct satchel_job *job = new_job(world, kind);
    job->device = peer->device;
    system_ok(world, satchel_job_take_request(job, message), "compare", NULL);
    run_job(world, job);
    system_ok(world, job->status, "compare", &job->error);
    system_check(world, job->repaired_count == 0, "a device has repaired rows that nobody damaged");
    peer->is_live = peer->is_live && !job->is_cut; /* HEAD follows */
    say(world, peer, &job->answers[0]);
    satchel_job_free(job);
}

void system_peer_receive(struct system_world *world, struct system_peer *peer,
                         struct satchel_span frame)
{
    const struct satchel_now now = {world->now_ms, world->now_ms};
    struct satchel_message event;
    size_t cut = frame.size > 1 && system_one_in(world, 4)
                     ? 1 + system_below(world, (unsigned)frame.size - 1)
                     : 0;
    enum satchel_status status = SATCHEL_OK;
    if (cut > 0) {
        system_counts.split_frames++;
        status = satchel_session_receive(peer->session, frame.data, cut, false, now);
    }
    if (status == SATCHEL_OK)
        status =
            satchel_session_receive(peer->session, frame.data + cut, frame.size - cut, true, now);
    system_ok(world, status, "hear a device", NULL);
    while (satchel_session_next_event(peer->session, &event)) {
        if (event.kind == SATCHEL_MESSAGE_HELLO)
            attach(world, peer, &event);
        else if (event.kind == SATCHEL_MESSAGE_FORWARD)
            forward(world, peer, &event);
        else if (event.kind == SATCHEL_MESSAGE_DIGEST_REQUEST)
            say_digests(world, peer, SATCHEL_JOB_DIGESTS, &event);
        else if (event.kind == SATCHEL_MESSAGE_RANGES_REQUEST)
            say_digests(world, peer, SATCHEL_JOB_RANGES, &event);
        else if (event.kind == SATCHEL_MESSAGE_ROWS_REQUEST)
            say_rows(world, peer, &event);
        else if (event.kind == SATCHEL_MESSAGE_PUSH) {
            add_push(world, peer, &event);
            if (world->is_delivering_twice) {
                if (system_one_in(world, 2))
                    system_server_flush(world);
                add_push(world, peer, &event);
            }
        } else {
            system_fail(world, "a device says message %d", (int)event.kind);
        }
    }
    if (system_one_in(world, 2))
        system_server_flush(world);
}

/* ---- the stream ---- */

static void say_schema(struct system_world *world, struct system_peer *peer)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_SCHEMA);
    job->after = peer->schema;
    run_job(world, job);
    system_ok(world, job->status, "read migrations", &job->error);
    const struct satchel_message_schema *schema = &job->answers[0].schema;
    peer->needs_schema = false;
    if (schema->migration_count > 0) {
        peer->schema = schema->migrations[schema->migration_count - 1].number;
        say(world, peer, &job->answers[0]);
    }
    satchel_job_free(job);
}

/* A smaller batch, as if the entries were larger; what follows is told another time. */
static void cut_batch(struct system_world *world, struct satchel_job *job,
                      const struct satchel_scope_state *before)
{
    uint32_t i = 0;
    while (i < job->answer_count && job->answers[i].kind != SATCHEL_MESSAGE_ENTRIES)
        i++;
    struct satchel_message_entries *entries = &job->answers[i].entries;
    if (i == job->answer_count || entries->entry_count < 2 || !system_one_in(world, 2))
        return;
    entries->entry_count = 1 + system_below(world, entries->entry_count - 1);
    job->reached = entries->entries[entries->entry_count - 1].cursor;
    job->answer_count = i + 1;
    job->has_head = false;
    job->scope.complete = before->complete;
    job->scope.next_complete = before->next_complete;
    job->scope.came_after = before->came_after;
    job->scope.told = before->told;
    system_counts.partial_pulls++;
}

static void keep_bytes(uint8_t *kept, struct satchel_span *bytes)
{
    if (bytes->size > 0)
        memcpy(kept, bytes->data, bytes->size);
    bytes->data = kept;
}

static void say_entries(struct system_world *world, struct system_peer *peer)
{
    struct satchel_job *job = new_job(world, SATCHEL_JOB_ENTRIES);
    struct satchel_scope_state before = peer->scope;
    job->device = peer->device;
    job->after = peer->cursor;
    job->scope = before;
    job->wants_head = !peer->is_live;
    run_job(world, job);
    system_ok(world, job->status, "read entries", &job->error);
    cut_batch(world, job, &before);
    peer->cursor = job->reached;
    peer->scope = job->scope;
    peer->is_live = peer->is_live || job->has_head;
    keep_bytes(peer->names[0], &peer->scope.left_after);
    keep_bytes(peer->names[1], &peer->scope.came_after);
    keep_bytes(peer->told, &peer->scope.told);
    for (uint32_t i = 0; i < job->answer_count; i++)
        say(world, peer, &job->answers[i]);
    satchel_job_free(job);
}

void system_peer_step(struct system_world *world, struct system_peer *peer)
{
    if (!peer->is_attached)
        return;
    if (peer->acked_number > peer->acked_said) {
        struct satchel_message message = {.kind = SATCHEL_MESSAGE_ACK};
        message.ack.number = peer->acked_said = peer->acked_number;
        say(world, peer, &message);
    }
    if (satchel_session_output_bytes(peer->session) > 0)
        return;
    if (peer->needs_schema)
        say_schema(world, peer);
    else if (!peer->is_live || peer->cursor < world->head || peer->scope.complete < peer->cursor ||
             peer->scope.cut < peer->cursor)
        say_entries(world, peer);
}
