# For scripts that run the program as a user does; to be sourced. ASSAY is the path of the program.
# Goes to a folder that vanishes with the script, and counts in $failures.
set -uo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

# expect CODE 'PATTERN' ARGUMENTS..: exit code and an extended regular expression in the output.
expect() {
  local code=$1 pattern=$2 status=0 output
  shift 2
  output=$("$ASSAY" "$@" 2>&1) || status=$?
  if [ "$status" -ne "$code" ]; then
    echo "assay $*: expected exit code $code, got $status: $output"
    failures=$((failures + 1))
  elif ! grep -qE -- "$pattern" <<<"$output"; then
    echo "assay $*: expected output like '$pattern', got: $output"
    failures=$((failures + 1))
  fi
}

# hold COMMAND..: the command succeeds.
hold() {
  "$@" || { echo "expected to hold: $*"; failures=$((failures + 1)); }
}
