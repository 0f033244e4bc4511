/* What tests of a workspace share: a data directory of its own, jobs submitted and waited for,
 * requests as devices and administrators make them. */
#ifndef WORKSPACE_KIT_H
#define WORKSPACE_KIT_H

#include "workspace_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_ok(status) assert_int_equal((status), SATCHEL_OK)

/* Users ann (rep), bob (hq) and gone (not active) in table 1; items with a stock in table 2. */
extern const char kit_sql[];
/* No users. */
extern const char kit_plain_sql[];

struct fixture {
    char directory[64];
    struct satchel_workspace *workspace;
    struct satchel_workspace_callbacks callbacks;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    size_t completed_count;
    uint64_t advanced_to;
    struct satchel_error error;
};

struct device {
    struct satchel_id id;
    uint8_t token[SATCHEL_TOKEN_BYTES];
    struct satchel_id workspace_id, node;
    uint64_t cursor, last_number;
    struct satchel_id receipt; /* of its enrolment */
    uint64_t token_number;
    enum satchel_drain drain;
    char user[16];
};

void fixture_open(struct fixture *fixture);
/* Creates workspace `name` from one migration and opens it. */
enum satchel_status create(struct fixture *fixture, const char *name, const char *sql);
void fixture_close(struct fixture *fixture);
/* Closes workspace "w" and opens it again. */
void reopen(struct fixture *fixture);
/* Keeps the store of workspace "w" as it is, and puts it back. */
void fixture_back_up(struct fixture *fixture, const char *name);
void fixture_put_back(struct fixture *fixture, const char *name, bool as_new_incarnation);
/* Changes the store of workspace "w" as nothing but a failing disk can. */
void fixture_damage(struct fixture *fixture, const char *sql);
/* Submits a job and waits until it is done. */
enum satchel_status run(struct fixture *fixture, struct satchel_job *job);
/* `advanced` comes after the jobs of its commit. */
void wait_for_head(struct fixture *fixture, uint64_t head);
/* A request of administration: the verb and its arguments, ending with NULL. */
struct satchel_job *verb(enum satchel_job_kind kind, ...);
/* The rows of its answer, '|' between columns, '\n' between rows, NULL as "NULL". Until the next
 * call. */
const char *rows(const struct satchel_job *job);
/* The same of one SELECT through workspace.sql. */
const char *sql(struct fixture *fixture, const char *statement);
void invite(struct fixture *fixture, const char *login, char code[32]);
struct device device_new(uint8_t number);
enum satchel_status join(struct fixture *fixture, struct device *device, const char *code);
enum satchel_status attach(struct fixture *fixture, struct device *device,
                           struct satchel_message_welcome *welcome);
/* A change set that inserts an item, or adds to its stock when `stock` is not 0. */
struct satchel_job *push_job(struct device *device, uint64_t number, const char *id, int64_t stock);
enum satchel_status push(struct fixture *fixture, struct device *device, uint64_t number,
                         const char *id, int64_t stock);
/* Workspace "w" from kit_sql with two joined devices. */
void open_joined(struct fixture *fixture, struct device *ann, struct device *bob);

#endif
