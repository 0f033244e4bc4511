/* Owns the sums over many runs, as a table; and that nothing in it is zero when there were enough
 * of them. */
#include "report.h"

#include <string.h>

void sim_counts_add(struct sim_counts *sum, const struct sim_counts *counts)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

struct line {
    const char *name;
    uint64_t count;
};

static unsigned print_lines(const char *title, const struct line *lines, size_t count)
{
    unsigned zeros = 0;
    printf("%s:", title);
    for (size_t i = 0; i < count; i++) {
        printf("%s %s %llu", i ? "," : "", lines[i].name, (unsigned long long)lines[i].count);
        zeros += lines[i].count == 0;
    }
    printf("\n");
    return zeros;
}

#define LINE(name) {#name, counts->name},
#define PRINT(title, TABLE)                                               \
    do {                                                                  \
        const struct line lines[] = {TABLE(LINE)};                        \
        zeros += print_lines(title, lines, sizeof lines / sizeof *lines); \
    } while (0)

static unsigned print_rules(const char *title, const uint64_t *counts, bool are_conflicts)
{
    struct line lines[SATCHEL_RULE_COUNT];
    unsigned zeros = 0;
    for (int i = 0; i < SATCHEL_RULE_COUNT; i++)
        lines[i] = (struct line){satchel_rule_name((enum satchel_rule)i), counts[i]};
    (void)print_lines(title, lines, SATCHEL_RULE_COUNT);
    for (int i = 0; i < SATCHEL_RULE_COUNT; i++) {
        bool is_written = i != SATCHEL_RULE_ID && i != SATCHEL_RULE_SERVER;
        zeros += !are_conflicts && is_written && counts[i] == 0;
    }
    return zeros;
}

unsigned sim_counts_print(const struct sim_counts *counts)
{
    unsigned zeros = 0;
    PRINT("faults", SIM_FAULT_COUNTS);
    PRINT("events", SIM_EVENT_COUNTS);
    PRINT("outcomes", SIM_OUTCOME_COUNTS);
    zeros += print_rules("writes by rule", counts->rules, false);
    zeros += print_rules("conflicts by rule", counts->rule_conflicts, true);
    const struct line deletes[] = {
        {"edit_wins", counts->delete_policies[SATCHEL_DELETE_EDIT_WINS]},
        {"delete_wins", counts->delete_policies[SATCHEL_DELETE_DELETE_WINS]},
        {"restrict", counts->delete_policies[SATCHEL_DELETE_RESTRICT]},
        {"conflicts about rows", counts->row_conflicts},
    };
    zeros += print_lines("deletes", deletes, sizeof deletes / sizeof *deletes);
    return zeros;
}
