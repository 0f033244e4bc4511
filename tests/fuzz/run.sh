#!/usr/bin/env bash
# run.sh BUILD SECONDS: every fuzz target of the build for its share of the seconds, one line each.
# New inputs go to BUILD/fuzz/TARGET/corpus and are used again next time; exits 1 on a finding.
set -euo pipefail
build=$(realpath "$1") seconds=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: SECONDS is a number, not \`$seconds\`" >&2; exit 2; }
targets=("$build"/bin/fuzz_*)
share=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]}))
findings=0
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"

last() { grep -oE "$1[^ ]* +[0-9]+" "$log" | tail -1 | grep -oE '[0-9]+$' || echo 0; }

printf '%-10s %12s %9s %8s  %s\n' target executions features corpus result
for program in "${targets[@]}"; do
    name=${program##*/fuzz_}
    work=$build/fuzz/$name
    log=$work/log
    mkdir -p "$work/corpus"
    result=clean
    "$program" -max_total_time="$share" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
        -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$work/" \
        "$work/corpus" "$here/corpus/$name" >"$log" 2>&1 || result=FINDING
    printf '%-10s %12s %9s %8s  %s\n' "$name" "$(last stat::number_of_executed_units:)" \
        "$(last ft:)" "$(find "$work/corpus" -type f | wc -l)" "$result"
    [ "$result" = clean ] && continue
    findings=$((findings + 1))
    grep -E 'does not hold|runtime error|ERROR:|SUMMARY' "$log" | head -5
    input=$(grep -oE 'Test unit written to .*' "$log" | tail -1 | cut -d' ' -f5- || true)
    echo "    to run it again: $program ${input:-(no input; see $log)}"
done
[ "$findings" -eq 0 ]
