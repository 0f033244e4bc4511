/* make_replica PATH LOGIN ROLE < schema.sql: a joined replica for tests in other languages. */
#include "replica_fixture.h"

#include <stdio.h>

int main(int count, char **words)
{
    static char sql[1 << 16];
    satchel_replica *replica = NULL;
    size_t size = fread(sql, 1, sizeof sql - 1, stdin);
    sql[size] = '\0';
    if (count != 4) {
        fputs("usage: make_replica PATH LOGIN ROLE < schema.sql\n", stderr);
        return 2;
    }
    if (fixture_replica(words[1], sql, words[2], words[3], NULL, &replica) != SATCHEL_OK)
        return 1;
    satchel_replica_close(replica);
    return 0;
}
