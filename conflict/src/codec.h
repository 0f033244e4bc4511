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
    CODEC_FLAGS = 31,

    CODEC_WRITE_INSERT = 1,
    CODEC_WRITE_PART = 2,
    CODEC_WRITE_ROLE = 4,
    CODEC_WRITE_POSITIONS_SHIFT = 3,
    CODEC_POSITIONS_FOLLOW = 31,

    CODEC_KEEPER_NONE = 0,
    CODEC_KEEPER_LAST = 1,
    CODEC_KEEPER_FOLLOWS = 2,
    CODEC_KEEPER_MASK = 3,
    CODEC_UNIT_VALUES = 4
};

#endif
