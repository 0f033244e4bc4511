#!/usr/bin/env bash
# usage: check.sh libsatchel_base.a libsatchel_conflict.a libsatchel_protocol.a
# Fails naming every undefined symbol of the pure layers that is not on the list, and every include that
# points against the direction of the layers.
set -uo pipefail
base=$1 conflict=$2 protocol=$3
failures=0

libc='mem(cpy|move|set|cmp|chr)|strlen|strcmp|strncmp|strchr|strpbrk|strspn|(__)?v?snprintf(_chk)?'
libc="$libc|__memcpy_chk|__memset_chk|__memmove_chk|__stack_chk_fail|malloc|realloc|free|abort|qsort|bsearch"
libc="$libc|__assert_fail|trunc|floor|__(asan|ubsan)_.*|_GLOBAL_OFFSET_TABLE_|__tls_get_addr"
libraries="ZSTD_.*|msgpack_.*|crypto_generichash.*|sodium_(memcmp|memzero)|(nto|hto)(hl|hs|nl|ns)" # the last: msgpack-c's inline code

# undefined ARCHIVE ALLOWED ARCHIVE...: symbols undefined in the first and defined in none of them.
undefined() {
    local archive=$1 allowed=$2
    shift 2
    comm -23 <(nm -u "$archive" 2>/dev/null | awk 'NF==2 && $1=="U" {print $2}' | sort -u) \
             <(nm --defined-only "$archive" "$@" 2>/dev/null | awk 'NF==3 {print $3}' | sort -u) |
        grep -vxE "$allowed" || true
}
report() {
    [ -z "$2" ] && return
    printf '%s may not use: %s\n' "$1" "$(tr '\n' ' ' <<<"$2")" >&2
    failures=$((failures + 1))
}
report base "$(undefined "$base" "$libc|va_.*")"
report conflict "$(undefined "$conflict" "$libc" "$base")"
report protocol "$(undefined "$protocol" "$libc|$libraries" "$base" "$conflict")"

includes() { grep -rnE "#include *[<\"]($2)" "$1" || true; }
outside='sqlite3|satchel/sqlite|libwebsockets|ev\.h|unistd|fcntl|sys/|pthread|time\.h|errno|poll|netinet|stdio'
report "conflict's includes" "$(includes conflict "$outside|msgpack|zstd|sodium")"
report "protocol's includes" "$(includes protocol "${outside%|stdio}")"
upward='satchel\.h|satchel/(schema|annotation|row_io|digest|log|functions)\.h'
report "base's includes" "$(includes base "$upward|satchel/(value|stamp|row|cursor|message|session)\.h")"
report "conflict's includes" "$(includes conflict "$upward|satchel/(cursor|pack|changeset|entry|message|session)\.h")"
report "protocol's includes" "$(includes protocol "$upward")"
report "sql's includes" "$(includes sql 'satchel\.h|replica\.h|libwebsockets')"
report "server's includes of the client" "$(includes server 'satchel\.h|replica\.h')"
[ "$failures" -eq 0 ] && echo "layering: clean"
exit "$failures"
