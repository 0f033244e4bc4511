/* Owns the table of rules: names, and which file decides. */
#include "merge.h"

const char *satchel_rule_name(enum satchel_rule rule)
{
    static const char *const spellings[] = {
#define SPELLING(name, spelling) spelling,
        SATCHEL_RULE_TABLE(SPELLING)
#undef SPELLING
    };
    return (unsigned)rule < SATCHEL_RULE_COUNT ? spellings[rule] + 1 : "unknown";
}

bool satchel_column_is_touchable(const struct satchel_column_rules *column)
{
    switch (column->rule) {
    case SATCHEL_RULE_ID:
    case SATCHEL_RULE_IMMUTABLE:
    case SATCHEL_RULE_APPEND:
    case SATCHEL_RULE_SERVER:
    case SATCHEL_RULE_FOLLOWS: return false;
    default: return !column->in_key;
    }
}

const struct merge_rule *merge_rule_of(enum satchel_rule rule)
{
    switch (rule) {
    case SATCHEL_RULE_LWW: return &merge_rule_lww;
    case SATCHEL_RULE_GROUP: return &merge_rule_group;
    case SATCHEL_RULE_ID:
    case SATCHEL_RULE_IMMUTABLE:
    case SATCHEL_RULE_APPEND: return &merge_rule_immutable;
    case SATCHEL_RULE_MAX: return &merge_rule_max;
    case SATCHEL_RULE_MIN: return &merge_rule_min;
    case SATCHEL_RULE_FIRST: return &merge_rule_first;
    case SATCHEL_RULE_COUNTER: return &merge_rule_counter;
    case SATCHEL_RULE_SET: return &merge_rule_set;
    case SATCHEL_RULE_MAP: return &merge_rule_map;
    case SATCHEL_RULE_TEXT3: return &merge_rule_text3;
    case SATCHEL_RULE_SERVER: return &merge_rule_server;
    case SATCHEL_RULE_KEY:
    case SATCHEL_RULE_KEY_WEAK: return &merge_rule_key;
    case SATCHEL_RULE_FOLLOWS: return &merge_rule_follows;
    case SATCHEL_RULE_STATE: return &merge_rule_state;
    case SATCHEL_RULE_AUTHORITY: return &merge_rule_authority;
    case SATCHEL_RULE_CLAIM: return &merge_rule_claim;
    case SATCHEL_RULE_COUNT: break;
    }
    return NULL;
}

const char *satchel_outcome_name(enum satchel_outcome outcome)
{
    switch (outcome) {
    case SATCHEL_OUTCOME_APPLIED: return "applied";
    case SATCHEL_OUTCOME_SUPERSEDED: return "superseded";
    case SATCHEL_OUTCOME_MERGED: return "merged";
    case SATCHEL_OUTCOME_QUARANTINED: return "quarantined";
    case SATCHEL_OUTCOME_FROZEN: return "frozen";
    }
    return "unknown";
}
