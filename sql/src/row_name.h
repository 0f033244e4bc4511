/* A value inside JSON. Internal to sql/. */
#ifndef SATCHEL_ROW_NAME_H
#define SATCHEL_ROW_NAME_H

#include <satchel/json.h>
#include <satchel/value.h>

/* Text quoted, blobs in lower-case hex, NULL null. Returns the writer's status. */
enum satchel_status satchel_json_value(struct satchel_json *json,
                                       const struct satchel_value *value) SATCHEL_MUST_USE;

#endif
