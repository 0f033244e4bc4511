/* SQLite's API: linked, or through the table of routines when this code is built into the
 * extension, which must work in a host that carries an SQLite of its own. Include this, never
 * sqlite3.h. */
#ifndef SATCHEL_SQLITE_H
#define SATCHEL_SQLITE_H

#ifdef SATCHEL_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#endif
