/* What each kind of message is made of, as data: the encoder and the decoder walk the same tables.
 * Internal to protocol/. */
#ifndef SATCHEL_MESSAGE_LAYOUT_H
#define SATCHEL_MESSAGE_LAYOUT_H

#include <satchel/message.h>

enum field_type {
    FIELD_PROTOCOL, /* uint64_t; another version than ours ends the reading with VERSION */
    FIELD_UNSIGNED, /* uint64_t up to max */
    FIELD_INTEGER,  /* int64_t */
    FIELD_TEXT,     /* span of at most max bytes */
    FIELD_BINARY,   /* span of at most max bytes */
    FIELD_TOKEN,    /* span of exactly max bytes */
    FIELD_SECRET,   /* const uint8_t * of SATCHEL_SECRET_BYTES */
    FIELD_ID,       /* struct satchel_id */
    FIELD_VECTOR,   /* struct satchel_vector */
    FIELD_LIST,     /* pointer to at most max items and their count; see struct list */
    FIELD_ENTRIES,  /* the same of struct satchel_entry, which has an encoding of its own */
    FIELD_TEXTS,    /* the same of struct satchel_span */
    FIELD_TABLE,    /* values and row count of an ADMIN_RESULT: row-major, as wide as its columns */
    FIELD_ARGUMENTS /* pointer to at most max values, each text or NULL, and their count */
};

struct field {
    enum field_type type;
    size_t offset; /* from the start of the struct it is in; of a list: of its pointer */
    uint64_t max;
    const char *name;
    const struct list *list; /* FIELD_LIST */
    size_t count_offset;     /* of a list: of its uint32_t count */
};

/* The items of a FIELD_LIST: structs with fields of their own. */
struct list {
    const struct field *fields;
    uint32_t field_count;
    size_t item_bytes;
};

struct layout {
    enum satchel_message_kind kind;
    const char *name;
    const struct field *fields;
    uint32_t field_count;
};

/* NULL: not a kind of this version. */
const struct layout *satchel_message_layout(uint64_t kind);

/* What must hold between the fields of one message, whether it is to be written or has been read.
 * The words of a violation, or NULL. */
const char *satchel_message_flaw(const struct satchel_message *message);

enum {
    MESSAGE_ARRAY_MAX =
        255, /* items of a message or of a list's item, a later version's included */
    MESSAGE_ERROR_TEXT_MAX = 4096,
    MESSAGE_ARGUMENTS_MAX = 4096,
    MESSAGE_REPAIRS_MAX = 256, /* each is a line in the server's log */
    MESSAGE_COLUMNS_MAX = 2000
};

#endif
