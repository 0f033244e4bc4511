/* The constants of a version's stored form, which version_encode.c describes. */
#ifndef SATCHEL_CONFLICT_CODEC_H
#define SATCHEL_CONFLICT_CODEC_H

#include "merge.h"

enum {
    CODEC_VARINT_BYTES = 10,

    CODEC_WAS_DELETED = 1,
    CODEC_SINGLE = 2,
    CODEC_ROW = 4,
    CODEC_UNITS = 8,
    CODEC_DELETES = 16,
    CODEC_FREEZES = 32,
    CODEC_LINKED = 64,
    CODEC_FLAGS = 127,

    CODEC_WRITE_INSERT = 1,
    CODEC_WRITE_PART = 2,
    CODEC_WRITE_ROLE = 4,
    CODEC_WRITE_MEMBER = 8,
    CODEC_WRITE_POSITIONS_SHIFT = 4,
    CODEC_POSITIONS_FOLLOW = 15,

    CODEC_UNIT_VALUES = 1,
    CODEC_UNIT_CANDIDATES = 2,
    CODEC_UNIT_ITEMS = 4,
    CODEC_UNIT_SHIFT = 3,

    CODEC_HEAD_VALUES = 1,
    CODEC_HEAD_MORE = 2,
    CODEC_HEAD_SHIFT = 2,
    CODEC_HEAD_FROZEN = 1,
    CODEC_HEAD_TOPS = 2,

    CODEC_ENTRY_VALUE = 1, /* a key of a map that was given a value, */
    CODEC_ENTRY_BYTES = 2, /* and not the one the row shows */
    CODEC_ENTRY_SHIFT = 2,

    CODEC_FREEZE_OF_COPY = 16 /* beside its place: the ancestors of the write follow */
};
_Static_assert((int)MERGE_FREEZE_COUNT <= (int)CODEC_FREEZE_OF_COPY,
               "a place leaves room for the flag");

#endif
