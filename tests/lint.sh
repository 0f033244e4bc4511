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

long=$(grep -nE '^.{101,}' "${sources[@]}" || true)
[ -z "$long" ] || fail "lines over 100 columns:"$'\n'"$(head -20 <<<"$long")"

for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 700 ] || fail "$file has $lines lines; split it by idea"
    tail -c1 "$file" | read -r _ || true
done

tabs=$(grep -nP '\t' "${sources[@]}" || true)
[ -z "$tabs" ] || fail "tabs:"$'\n'"$(head -5 <<<"$tabs")"

if command -v cppcheck >/dev/null; then
    cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,portability \
        --suppress=missingIncludeSystem --suppress=unknownMacro --inline-suppr -D__GNUC__ \
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
