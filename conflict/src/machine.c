/* Owns state machines: which steps they allow, and in which words they refuse one. */
#include <satchel/operation.h>
#include <satchel/utf8.h>

const struct satchel_state *satchel_machine_find(const struct satchel_machine *machine,
                                                 struct satchel_span code)
{
    uint32_t low = 0, high = machine->state_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = satchel_span_compare(machine->states[middle].code, code);
        if (order == 0)
            return &machine->states[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const struct satchel_state *find(const struct satchel_machine *machine,
                                        const struct satchel_value *value)
{
    return value && value->type == SATCHEL_TEXT ? satchel_machine_find(machine, value->bytes)
                                                : NULL;
}

static bool may_go_back(const struct satchel_state *from, struct satchel_span code)
{
    for (uint32_t i = 0; i < from->back_to_count; i++)
        if (satchel_span_equal(from->back_to[i], code))
            return true;
    return false;
}

/* ---- words ---- */

#define CODE_BYTES_MAX 48

struct sentence {
    char *text;
    size_t size;
    bool is_full;
};

/* All of it or nothing: a sentence is never cut inside a word. */
static void say(struct sentence *sentence, const void *words, size_t size)
{
    const size_t rest = sizeof ", ..."; /* what ends a list that does not fit */
    if (sentence->is_full || sentence->size + size + rest > SATCHEL_REFUSAL_BYTES) {
        sentence->is_full = true;
        return;
    }
    memcpy(sentence->text + sentence->size, words, size);
    sentence->size += size;
    sentence->text[sentence->size] = 0;
}

static void say_text(struct sentence *sentence, const char *words)
{
    say(sentence, words, strlen(words));
}

static void say_code(struct sentence *sentence, struct satchel_span code)
{
    char quoted[CODE_BYTES_MAX + 8];
    size_t size = 0, used = 0;
    quoted[size++] = '\'';
    while (used < code.size && used < CODE_BYTES_MAX) {
        size_t length = satchel_utf8_length(code.data + used, code.size - used);
        if (length == 0 || code.data[used] < 0x20) {
            quoted[size++] = '?';
            used++;
            continue;
        }
        memcpy(quoted + size, code.data + used, length);
        size += length;
        used += length;
    }
    quoted[size++] = '\'';
    say(sentence, quoted, size);
}

static void say_list_end(struct sentence *sentence)
{
    if (sentence->is_full)
        memcpy(sentence->text + sentence->size, ", ...", sizeof ", ...");
}

static const char *no_such_state(const struct satchel_machine *machine,
                                 const struct satchel_value *value, struct sentence *sentence)
{
    if (value->type == SATCHEL_TEXT)
        say_code(sentence, value->bytes);
    else
        say_text(sentence, value->type == SATCHEL_NULL ? "NULL" : "a value that is no text");
    say_text(sentence, " is no state of the machine");
    for (uint32_t i = 0; i < machine->state_count; i++) {
        say_text(sentence, i ? ", " : "; it has ");
        say_code(sentence, machine->states[i].code);
    }
    say_list_end(sentence);
    return sentence->text;
}

static const char *no_way_back(const struct satchel_state *from, const struct satchel_state *to,
                               struct sentence *sentence)
{
    say_text(sentence, "may not go back from ");
    say_code(sentence, from->code);
    say_text(sentence, " to ");
    say_code(sentence, to->code);
    if (from->back_to_count == 0)
        say_text(sentence, ", nor to any other state");
    for (uint32_t i = 0; i < from->back_to_count; i++) {
        say_text(sentence, i ? ", " : ", only to ");
        say_code(sentence, from->back_to[i]);
    }
    say_list_end(sentence);
    return sentence->text;
}

const char *satchel_state_refusal(const struct satchel_machine *machine,
                                  const struct satchel_value *old_value,
                                  const struct satchel_value *new_value,
                                  char text[SATCHEL_REFUSAL_BYTES])
{
    const struct satchel_value null = satchel_value_null();
    struct sentence sentence = {.text = text};
    if (machine->state_count == 0 || satchel_value_equal(old_value ? old_value : &null, new_value))
        return NULL;
    const struct satchel_state *from = find(machine, old_value);
    const struct satchel_state *to = find(machine, new_value);
    if (!to)
        return no_such_state(machine, new_value, &sentence);
    if (!from || to->rank >= from->rank || may_go_back(from, to->code))
        return NULL;
    return no_way_back(from, to, &sentence);
}
