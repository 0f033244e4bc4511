/* The table that holds the migrations of a database file. Internal to sql/. */
#ifndef SATCHEL_MIGRATION_TABLE_H
#define SATCHEL_MIGRATION_TABLE_H

/* number: 1, 2, ... as in 001_init.sql; name: the file's; sql: the file, annotations and all. */
#define SATCHEL_MIGRATION_TABLE                                                     \
    "CREATE TABLE IF NOT EXISTS main.satchel_migration(number INTEGER PRIMARY KEY," \
    " name TEXT NOT NULL, sql TEXT NOT NULL)"

#endif
