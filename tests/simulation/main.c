/* Owns the campaign: which seeds are run, in processes of their own, several at a time, and what is
 * said of them. */
#include "report.h"

#include <satchel/mutation.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, TEXT_BYTES = 1 << 20, SECONDS_MAX = 120, RUNS_TO_MEET_ALL = 3000 };

enum satchel_mutation satchel_mutation;
uint32_t satchel_batch_items;
void sim_init(void);
void sim_pool_begin(void);

struct slot {
    pid_t pid; /* 0: free */
    uint64_t seed, first_hash;
    bool is_second;            /* of --twice */
    struct sim_result *result; /* shared with the child */
    char *text;
};

struct campaign {
    uint64_t base, next, end;
    const char *list; /* a file of seeds */
    unsigned jobs;
    bool is_tracing, is_twice, is_quiet, is_going_on;
    struct slot slots[JOBS_MAX];
    struct sim_counts counts;
    uint64_t runs, failures, events;
    double virtual_seconds;
    uint64_t *seeds;
    size_t seed_count, seed_capacity;
    bool has_mutations;
    const char *mutation; /* this one only */
    char words[600];
};

/* ---- a run in a child ---- */

/* The second run of a seed finds other addresses. */
static void disturb_memory(void)
{
    void *volatile block = malloc((size_t)1 << 22);
    (void)block;
    for (int i = 0; i < 100; i++) {
        void *volatile small = malloc((size_t)(i * 37 + 24));
        (void)small;
    }
}

static void start(struct campaign *campaign, struct slot *slot, uint64_t seed, bool is_second)
{
    slot->seed = seed;
    slot->is_second = is_second;
    memset(slot->result, 0, sizeof *slot->result);
    slot->text[0] = '\0';
    fflush(stdout);
    slot->pid = fork();
    if (slot->pid < 0) {
        perror("fork");
        exit(2);
    }
    if (slot->pid > 0)
        return;
    const struct rlimit limit = {SECONDS_MAX, SECONDS_MAX};
    (void)setrlimit(RLIMIT_CPU, &limit);
    sim_pool_begin();
    if (is_second)
        disturb_memory();
    sim_run(seed, campaign->is_tracing, slot->result, slot->text, TEXT_BYTES);
    fflush(stdout);
    _exit(0);
}

/* ---- what came of it ---- */

/* Of a mutation only the last words. */
static void keep_words(struct campaign *campaign, const struct slot *slot)
{
    const char *last = NULL;
    for (const char *at = slot->text; (at = strstr(at, "FAILED ")) != NULL; at++)
        last = at;
    snprintf(campaign->words, sizeof campaign->words, "%.*s\n", last ? (int)strcspn(last, "\n") : 0,
             last ? last : "");
    if (!last)
        snprintf(campaign->words, sizeof campaign->words, "%llu: the process died\n",
                 (unsigned long long)slot->seed);
}

static void print_failure(const struct slot *slot, int state)
{
    printf("%.*s", (int)slot->result->text_bytes, slot->text);
    if (!slot->result->is_finished) {
        if (WIFSIGNALED(state) && (WTERMSIG(state) == SIGXCPU || WTERMSIG(state) == SIGKILL))
            printf("FAILED %llu: no end in %d s of computing\n", (unsigned long long)slot->seed,
                   SECONDS_MAX);
        else
            printf("FAILED %llu: the process died (%s)\n", (unsigned long long)slot->seed,
                   WIFSIGNALED(state) ? strsignal(WTERMSIG(state)) : "exit");
        printf("repeat it with: ./dev sim --seed %llu --trace\n", (unsigned long long)slot->seed);
    }
    fflush(stdout);
}

static void print_run(const struct slot *slot)
{
    const struct sim_result *result = slot->result;
    printf("seed %llu: %llu events, %.1f s, %llu change sets, hash %016llx\n",
           (unsigned long long)slot->seed, (unsigned long long)result->events,
           (double)result->virtual_ms / 1000.0, (unsigned long long)result->counts.change_sets,
           (unsigned long long)result->hash);
}

static bool take_next(struct campaign *campaign, uint64_t *seed)
{
    if (campaign->failures > 0 && !campaign->is_going_on)
        return false;
    if (campaign->next >= campaign->end)
        return false;
    uint64_t index = campaign->next++;
    *seed = index < campaign->seed_count ? campaign->seeds[index]
                                         : campaign->base + (index - campaign->seed_count);
    return true;
}

static void collect(struct campaign *campaign, struct slot *slot, int state)
{
    bool is_good = slot->result->is_finished && !slot->result->is_failed && WIFEXITED(state) &&
                   WEXITSTATUS(state) == 0;
    slot->pid = 0;
    if (is_good && slot->is_second && slot->first_hash != slot->result->hash) {
        printf("FAILED %llu: the second run is another one: hash %016llx, then %016llx\n",
               (unsigned long long)slot->seed, (unsigned long long)slot->first_hash,
               (unsigned long long)slot->result->hash);
        is_good = false;
        campaign->failures++;
    } else if (!is_good) {
        if (satchel_mutation)
            keep_words(campaign, slot);
        else
            print_failure(slot, state);
        campaign->failures++;
    }
    if (is_good && campaign->is_twice && !slot->is_second) {
        slot->first_hash = slot->result->hash;
        start(campaign, slot, slot->seed, true);
        return;
    }
    campaign->runs++;
    campaign->events += slot->result->events;
    campaign->virtual_seconds += (double)slot->result->virtual_ms / 1000.0;
    sim_counts_add(&campaign->counts, &slot->result->counts);
    if (is_good && !campaign->is_quiet)
        print_run(slot);
}

static void run_all(struct campaign *campaign)
{
    uint64_t seed;
    unsigned running = 0;
    for (unsigned i = 0; i < campaign->jobs; i++)
        if (take_next(campaign, &seed)) {
            start(campaign, &campaign->slots[i], seed, false);
            running++;
        }
    while (running > 0) {
        int state;
        pid_t pid = wait(&state);
        if (pid < 0 && errno == EINTR)
            continue;
        for (unsigned i = 0; i < campaign->jobs; i++) {
            struct slot *slot = &campaign->slots[i];
            if (slot->pid != pid)
                continue;
            collect(campaign, slot, state);
            if (slot->pid == 0 && take_next(campaign, &seed))
                start(campaign, slot, seed, false);
            running -= slot->pid == 0;
        }
    }
}

/* ---- the command ---- */

/* Each mutation until it is caught; how many are not. */
static unsigned run_mutations(struct campaign *campaign, uint64_t seeds_max)
{
    static const struct {
        const char *name, *what;
    } mutations[] = {{"none", ""},
#define SATCHEL_MUTATION_TEXT(name, what) {#name, what},
                     SATCHEL_MUTATION_TABLE(SATCHEL_MUTATION_TEXT)
#undef SATCHEL_MUTATION_TEXT
    };
    unsigned missed = 0;
    for (unsigned i = 1; i < SATCHEL_MUTATION_COUNT; i++) {
        if (campaign->mutation && strcmp(campaign->mutation, mutations[i].name) != 0)
            continue;
        satchel_mutation = (enum satchel_mutation)i;
        campaign->next = campaign->runs = campaign->failures = 0;
        campaign->end = seeds_max;
        campaign->words[0] = '\0';
        run_all(campaign);
        missed += campaign->failures == 0;
        printf("%-14s %s by %llu of %llu seeds: %s\n  %s", mutations[i].name,
               campaign->failures ? "caught" : "NOT CAUGHT", (unsigned long long)campaign->failures,
               (unsigned long long)campaign->runs, mutations[i].what,
               campaign->failures ? campaign->words : "\n");
        fflush(stdout);
    }
    return missed;
}

static void read_list(struct campaign *campaign, const char *path)
{
    char line[400];
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof line, file)) {
        char *end = line;
        unsigned long long seed = strtoull(line, &end, 10);
        if (end == line)
            continue; /* a comment */
        SIM_GROW(campaign->seeds, campaign->seed_count, campaign->seed_capacity);
        campaign->seeds[campaign->seed_count++] = seed;
    }
    fclose(file);
    campaign->end = campaign->seed_count;
}

static void usage(void)
{
    printf("usage: ./dev sim [--seeds N] [--seed S] [--from S] [--list FILE] [--jobs N] [--trace]\n"
           "                 [--twice] [--quiet] [--go-on] [--rotate] [--without FAULT]...\n"
           "\n"
           "  --seeds N        runs N seeds (200)\n"
           "  --from S         from this one on (else from the time)\n"
           "  --seed S         this one only\n"
           "  --list FILE      those in the file, one a line; with --seeds behind it, N in all\n"
           "  --trace          tells everything that happens\n"
           "  --twice          runs each seed twice and compares the two\n"
           "  --go-on          does not end at the first failure\n"
           "  --mutations[=M]  faults put into the code on purpose, each until it is caught\n"
           "                   (with --go-on: by how many of the seeds)\n"
           "  --rotate         devices replace their tokens, and files are not copied\n"
           "  --without FAULT  leaves a kind of fault out: ");
    for (unsigned i = 0; i < SIM_FAULT_KIND_COUNT; i++)
        printf("%s%s", i ? ", " : "", sim_fault_name(i));
    printf("\n");
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end) {
        fprintf(stderr, "'%s' is no number\n", text);
        exit(2);
    }
    return value;
}

static void read_options(struct campaign *campaign, int count, char **arguments)
{
    static const struct option options[] = {
        {"seeds", 1, NULL, 'n'},   {"seed", 1, NULL, 's'},      {"from", 1, NULL, 'f'},
        {"list", 1, NULL, 'l'},    {"jobs", 1, NULL, 'j'},      {"trace", 0, NULL, 't'},
        {"twice", 0, NULL, '2'},   {"quiet", 0, NULL, 'q'},     {"go-on", 0, NULL, 'g'},
        {"without", 1, NULL, 'w'}, {"mutations", 2, NULL, 'm'}, {"help", 0, NULL, 'h'},
        {"rotate", 0, NULL, 'r'},  {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1)
        switch (option) {
        case 'n': campaign->end = number(optarg); break;
        case 's':
            campaign->base = number(optarg);
            campaign->end = 1;
            break;
        case 'f': campaign->base = number(optarg); break;
        case 'l': read_list(campaign, optarg); break;
        case 'j': campaign->jobs = (unsigned)number(optarg); break;
        case 't': campaign->is_tracing = true; break;
        case '2': campaign->is_twice = true; break;
        case 'q': campaign->is_quiet = true; break;
        case 'g': campaign->is_going_on = true; break;
        case 'w':
            if (sim_options_forbid(optarg))
                break;
            fprintf(stderr, "there is no fault '%s'\n", optarg);
            exit(2);
        case 'm':
            campaign->has_mutations = true;
            campaign->mutation = optarg;
            break;
        case 'r': sim_options_rotate(); break;
        case 'h': usage(); exit(0);
        default: usage(); exit(2);
        }
}

static void make_slots(struct campaign *campaign)
{
    if (campaign->jobs == 0 || campaign->jobs > JOBS_MAX)
        campaign->jobs = 1;
    for (unsigned i = 0; i < campaign->jobs; i++) {
        struct slot *slot = &campaign->slots[i];
        void *shared = mmap(NULL, sizeof *slot->result + TEXT_BYTES, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) {
            perror("mmap");
            exit(2);
        }
        slot->result = shared;
        slot->text = (char *)shared + sizeof *slot->result;
    }
}

static double seconds(void)
{
    struct timeval now; /* the calls that are not the simulator's own */
    (void)gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

int main(int count, char **arguments)
{
    static struct campaign campaign = {.end = 200};
    campaign.base = (uint64_t)time(NULL);
    campaign.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    read_options(&campaign, count, arguments);
    make_slots(&campaign);
    sim_init();
    printf("seeds from %llu on\n", (unsigned long long)campaign.base);
    if (campaign.has_mutations) {
        campaign.is_quiet = true;
        return run_mutations(&campaign, campaign.end) > 0;
    }
    double began = seconds();
    run_all(&campaign);
    double took = seconds() - began;
    unsigned zeros = 0;
    if (campaign.runs > 1)
        zeros = sim_counts_print(&campaign.counts);
    printf("%llu runs, %llu failed, in %.1f s (%.1f runs/s); %llu events, %.0f h simulated\n",
           (unsigned long long)campaign.runs, (unsigned long long)campaign.failures, took,
           took > 0 ? (double)campaign.runs / took : 0.0, (unsigned long long)campaign.events,
           campaign.virtual_seconds / 3600);
    if (zeros > 0 && campaign.runs >= RUNS_TO_MEET_ALL) {
        printf("FAILED: %u kinds of events never happened\n", zeros);
        return 1;
    }
    return campaign.failures > 0;
}
