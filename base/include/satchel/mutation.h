/* Faults put into the code on purpose, one at a time, so that the simulator can show that it would
 * notice. Where SATCHEL_MUTATIONS is not defined, that is everywhere but in the simulator's build,
 * each is the constant 0 and nothing is left of it. */
#ifndef SATCHEL_MUTATION_H
#define SATCHEL_MUTATION_H

#define SATCHEL_MUTATION_TABLE(X)                                                       \
    X(no_server_sync, "the server commits with synchronous=OFF")                        \
    X(no_device_sync, "the device does not sync its WAL before it sends")               \
    X(no_effect, "the last effect of an entry is dropped")                              \
    X(all_seen, "every write counts as having seen what arrived before it")             \
    X(no_head, "a second head of a unit is forgotten")                                  \
    X(number_again, "a device numbers on from what waits, not from what it sent")       \
    X(early_ack, "the server acknowledges what it could not commit")                    \
    X(cursor_apart, "entries are committed before their cursor")                        \
    X(column_missed, "capture leaves the last column of an update out")                 \
    X(raw_stamp, "the stamp of a change set is not corrected")                          \
    X(no_overlay, "pending writes are not shown on top of the node's values")           \
    X(one_life, "an insert that saw a delete starts no new life")                       \
    X(no_views, "what a pending write hid of a field counts as seen")                   \
    X(insert_sees, "an insert counts as having seen more than deletes")                 \
    X(one_row, "writes to rows that became one count as seen before they did")          \
    X(no_positions, "what is given back has not the positions that it had")             \
    X(late_untold, "a position that came late is not told to who has the entry")        \
    X(no_held, "what is given back is not held, and so is nobody's of this node's")     \
    X(own_only, "a device gives back its own change sets alone")                        \
    X(give_backwards, "what was lost is given back with the last of it first")          \
    X(copy_as_same, "a copied replica takes the other's change sets for its own")       \
    X(no_cut, "an entry is sent whole")                                                 \
    X(late_cut, "what a user may see is what he saw when last asked")                   \
    X(no_evict, "rows that left a scope are not told")                                  \
    X(no_came, "rows that came into a scope are not sent")                              \
    X(left_at_head, "a row that came and left between two heads stays")                 \
    X(no_past, "a row that comes brings nothing of its past")                           \
    X(stale_rows, "rows are taken that another sync of the replica has gone past")      \
    X(stale_log, "entries are taken behind a log that another sync has cut back")       \
    X(keep_past, "a replica's log keeps what it has of rows that left")                 \
    X(no_mask, "a column is sent to every role")                                        \
    X(wipe_early, "a revoked device wipes itself before all it had is answered")        \
    X(wipe_rows_only, "a revoked device deletes its rows and leaves the file as it is") \
    X(stale_sum, "the kept sum of a table misses rows that are changed")                \
    X(stale_page, "a page of a snapshot is sent with rows that have left the scope")    \
    X(short_snapshot, "a replica is filled from a snapshot without its last page")      \
    X(late_snapshot, "what happens while a snapshot comes is not heard")                \
    X(bare_index, "an index that is filled behind its table lacks its last entry")      \
    X(bare_exchange, "a snapshot takes the place of what was written here meanwhile")

#ifdef SATCHEL_MUTATIONS
enum satchel_mutation {
    SATCHEL_MUTATION_none,
#define SATCHEL_MUTATION_ENUM(name, what) SATCHEL_MUTATION_##name,
    SATCHEL_MUTATION_TABLE(SATCHEL_MUTATION_ENUM)
#undef SATCHEL_MUTATION_ENUM
        SATCHEL_MUTATION_COUNT
};
extern enum satchel_mutation satchel_mutation;
#define SATCHEL_MUTATED(name) (satchel_mutation == SATCHEL_MUTATION_##name)
#else
#define SATCHEL_MUTATED(name) 0
#endif

#endif
