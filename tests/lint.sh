#!/usr/bin/env bash
# Static checks: banned functions, line length, file length, formatting, cppcheck.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failures=0
fail() { printf 'lint: %s\n' "$*" >&2; failures=$((failures + 1)); }

mapfile -t sources < <(git ls-files '*.c' '*.h')

banned='(^|[^_[:alnum:]])(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|alloca|rand|srand|strtok)\('
found=$(grep -nE "$banned" "${sources[@]}" || true)
[ -z "$found" ] || fail "banned functions:"$'\n'"$found"

export LC_ALL=C.UTF-8 # columns, not bytes
long=$(grep -nE '^.{101,}' "${sources[@]}" || true)
[ -z "$long" ] || fail "lines over 100 columns:"$'\n'"$(head -20 <<<"$long")"

for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    [[ $file == tests/* ]] || [ "$lines" -le 700 ] || fail "$file has $lines lines; split it by idea"
done

if command -v clang-format >/dev/null; then
    unformatted=$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -oE '^[^:]+:[0-9]+' | cut -d: -f1 |
        sort -u)
    [ -z "$unformatted" ] || fail "not formatted (clang-format -i): $(tr '\n' ' ' <<<"$unformatted")"
fi

tabs=$(grep -nP '\t' "${sources[@]}" || true)
[ -z "$tabs" ] || fail "tabs:"$'\n'"$(head -5 <<<"$tabs")"

if command -v cppcheck >/dev/null; then
    cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,portability \
        --suppress=missingIncludeSystem --suppress=unknownMacro -D__GNUC__ \
        --suppress=ctunullpointer --suppress=uninitvar --suppress=legacyUninitvar \
        --suppress=uninitStructMember \
        -Ibase/include -Iconflict/include -Iprotocol/include -Isql/include -Iclient-core/include \
        base/src conflict/src protocol/src sql/src client-core/src server/src cli/src ||
        fail "cppcheck"
fi

if [ "$failures" -eq 0 ]; then
    echo "lint: clean"
else
    echo "lint: $failures failed" >&2
    exit 1
fi
