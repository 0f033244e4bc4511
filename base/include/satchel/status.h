/* What became of a call: one table feeds the enum, the names and the explanations.
 *
 * Every function that can fail returns enum satchel_status; 0 is success. Functions that can say
 * more take a `struct satchel_error *` (may be NULL) and fill it with one line: what, where, what
 * to do. */
#ifndef SATCHEL_STATUS_H
#define SATCHEL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SATCHEL_MUST_USE __attribute__((warn_unused_result))
#define SATCHEL_PRINTF(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))
#else
#define SATCHEL_MUST_USE
#define SATCHEL_PRINTF(format_index, first_index)
#endif

/* name, value, explanation. Values are part of the ABI and of the wire (MESSAGE error): append
 * only. */
#define SATCHEL_STATUS_TABLE(X)                                      \
    X(OK, 0, "done")                                                 \
    X(NOMEM, 1, "out of memory")                                     \
    X(INVALID, 2, "an argument or input is not valid")               \
    X(LIMIT, 3, "a limit on size or count was reached")              \
    X(CORRUPT, 4, "bytes are malformed")                             \
    X(VERSION, 5, "a version is not supported")                      \
    X(NOT_FOUND, 6, "something named does not exist")                \
    X(EXISTS, 7, "something of that name exists already")            \
    X(DENIED, 8, "not allowed: invite, token or right")              \
    X(STATE, 9, "not possible in the present state")                 \
    X(BUSY, 10, "busy: try again")                                   \
    X(IO, 11, "input or output failed")                              \
    X(SQL, 12, "SQLite reported an error")                           \
    X(NETWORK, 13, "the connection failed or was lost")              \
    X(TIMEOUT, 14, "no answer in time")                              \
    X(SCHEMA, 15, "the schema is refused")                           \
    X(MISMATCH, 16, "belongs to another workspace, node or replica") \
    X(UNSUPPORTED, 17, "not built yet")                              \
    X(REFUSED, 18, "a rule of the schema refuses the write")         \
    X(NEED_TIMELINE, 19, "the row's timeline is needed to go on")    \
    X(DIFFERS, 20, "two sides that should be equal are not")         \
    X(AGAIN, 21, "the session must be begun again")

enum satchel_status {
#define SATCHEL_STATUS_ENUM(name, value, text) SATCHEL_##name = (value),
    SATCHEL_STATUS_TABLE(SATCHEL_STATUS_ENUM)
#undef SATCHEL_STATUS_ENUM
        SATCHEL_STATUS_LAST = SATCHEL_AGAIN
};

/* The name ("NOT_FOUND") and the explanation of a status. Borrowed, never NULL. */
const char *satchel_status_name(enum satchel_status status);
const char *satchel_status_text(enum satchel_status status);

#define SATCHEL_ERROR_BYTES 1024

/* The detail of the last failure: caller's storage, zero-initialised. */
struct satchel_error {
    enum satchel_status status;
    int native_code; /* the SQLite, errno or WebSocket code where one was the cause, else 0 */
    char message[SATCHEL_ERROR_BYTES]; /* one line of UTF-8 without line end; cut at the limit */
};

/* Fills `error` (if not NULL) and returns `status`, so that `return satchel_error_set(...)` reads
 * well. */
enum satchel_status satchel_error_set(struct satchel_error *error, enum satchel_status status,
                                      const char *format, ...) SATCHEL_PRINTF(3, 4);

/* As satchel_error_set, but keeps a message that an inner call has already left for the same
 * status. */
enum satchel_status satchel_error_default(struct satchel_error *error, enum satchel_status status,
                                          const char *format, ...) SATCHEL_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
