/* Owns the clerks: threads for what takes as long as it takes and belongs to no workspace's own
 * threads, because it makes, copies or replaces a workspace. Knows nothing of what an errand is. */
#include "hub_internal.h"

#include <stdlib.h>

struct errand_list {
    struct hub_errand *first, *last;
    uint32_t count;
};

struct hub_clerks {
    struct satchel_hub *hub;
    pthread_t threads[CLERKS];
    int thread_count;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct errand_list asked; /* under the mutex, as everything below */
    struct errand_list done;
    bool is_stopping;
};

static void push_errand(struct errand_list *list, struct hub_errand *errand)
{
    errand->next = NULL;
    if (list->last)
        list->last->next = errand;
    else
        list->first = errand;
    list->last = errand;
    list->count++;
}

static struct hub_errand *pop_errand(struct errand_list *list)
{
    struct hub_errand *errand = list->first;

    if (!errand)
        return NULL;
    list->first = errand->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    errand->next = NULL;
    return errand;
}

static void *run_clerk(void *context)
{
    struct hub_clerks *clerks = context;

    (void)pthread_mutex_lock(&clerks->mutex);
    while (!clerks->is_stopping) {
        struct hub_errand *errand = pop_errand(&clerks->asked);
        if (!errand) {
            (void)pthread_cond_wait(&clerks->changed, &clerks->mutex);
            continue;
        }
        (void)pthread_mutex_unlock(&clerks->mutex);
        errand->run(errand);
        (void)pthread_mutex_lock(&clerks->mutex);
        push_errand(&clerks->done, errand);
        ev_async_send(clerks->hub->loop, &clerks->hub->wake);
    }
    (void)pthread_mutex_unlock(&clerks->mutex);
    return NULL;
}

enum satchel_status hub_clerks_start(struct satchel_hub *hub, struct satchel_error *error)
{
    struct hub_clerks *clerks = calloc(1, sizeof *clerks);

    if (!clerks)
        return satchel_error_set(error, SATCHEL_NOMEM, "out of memory");
    clerks->hub = hub;
    if (pthread_mutex_init(&clerks->mutex, NULL) != 0) {
        free(clerks);
        return satchel_error_set(error, SATCHEL_NOMEM, "cannot make a lock");
    }
    if (pthread_cond_init(&clerks->changed, NULL) != 0) {
        (void)pthread_mutex_destroy(&clerks->mutex);
        free(clerks);
        return satchel_error_set(error, SATCHEL_NOMEM, "cannot make a lock");
    }
    hub->clerks = clerks; /* the hub's end stops those that have started */
    while (clerks->thread_count < CLERKS) {
        if (pthread_create(&clerks->threads[clerks->thread_count], NULL, run_clerk, clerks) != 0)
            return satchel_error_set(error, SATCHEL_NOMEM, "cannot start a thread");
        clerks->thread_count++;
    }
    return SATCHEL_OK;
}

void hub_clerks_stop(struct satchel_hub *hub)
{
    struct hub_clerks *clerks = hub->clerks;
    struct hub_errand *errand;

    if (!clerks)
        return;
    (void)pthread_mutex_lock(&clerks->mutex);
    clerks->is_stopping = true;
    (void)pthread_cond_broadcast(&clerks->changed);
    (void)pthread_mutex_unlock(&clerks->mutex);
    for (int i = 0; i < clerks->thread_count; i++)
        (void)pthread_join(clerks->threads[i], NULL);
    while ((errand = pop_errand(&clerks->asked)) != NULL)
        errand->drop(errand);
    while ((errand = pop_errand(&clerks->done)) != NULL)
        errand->drop(errand);
    (void)pthread_cond_destroy(&clerks->changed);
    (void)pthread_mutex_destroy(&clerks->mutex);
    free(clerks);
    hub->clerks = NULL;
}

void hub_clerks_collect(struct satchel_hub *hub)
{
    struct hub_clerks *clerks = hub->clerks;

    for (;;) {
        (void)pthread_mutex_lock(&clerks->mutex);
        struct hub_errand *errand = pop_errand(&clerks->done);
        (void)pthread_mutex_unlock(&clerks->mutex);
        if (!errand)
            return;
        errand->done(errand);
    }
}

void hub_clerks_ask(struct satchel_hub *hub, struct hub_errand *errand)
{
    struct hub_clerks *clerks = hub->clerks;

    (void)pthread_mutex_lock(&clerks->mutex);
    push_errand(&clerks->asked, errand);
    (void)pthread_cond_signal(&clerks->changed);
    (void)pthread_mutex_unlock(&clerks->mutex);
}

/* ---- claims: one errand at a time makes, copies or replaces the workspace of a name ---- */

struct hub_claim *hub_claim_find(struct satchel_hub *hub, struct satchel_span name)
{
    struct hub_claim *claim = hub->claims;

    while (claim && !satchel_span_equal(satchel_span_text(claim->name), name))
        claim = claim->next;
    return claim;
}

void hub_claim(struct satchel_hub *hub, struct hub_claim *claim, struct satchel_span name)
{
    memset(claim, 0, sizeof *claim);
    memcpy(claim->name, name.data, name.size); /* a valid name fits */
    claim->is_held = true;
    claim->next = hub->claims;
    hub->claims = claim;
}

void hub_claim_release(struct satchel_hub *hub, struct hub_claim *claim)
{
    struct hub_claim **place = &hub->claims;

    if (!claim->is_held)
        return;
    while (*place && *place != claim)
        place = &(*place)->next;
    if (*place)
        *place = claim->next;
    claim->is_held = false;
}
