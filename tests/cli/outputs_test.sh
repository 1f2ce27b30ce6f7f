#!/usr/bin/env bash
# What the program writes, and where: outputs replace neither inputs, nor other people's files, nor
# devices and links; and what happens when standard output is gone. ASSAY is the path of the program.
# shellcheck source=tests/cli/expect.sh
source "$(dirname "$0")/expect.sh"

expect 0 'root hash' generate --method 1 --seq 8 --out g.h5
before=$(sha256sum <g.h5)
unharmed() { [ "$(sha256sum <g.h5)" = "$before" ]; }

# No output is an input, by whatever name.
ln -s g.h5 link.h5
ln g.h5 hard.h5
for option in --json --report --junit; do
  for name in g.h5 link.h5 hard.h5 ./g.h5; do
    expect 2 "$option $name: is the input g.h5" verify g.h5 --subject reference --precision fp64 $option $name --force
  done
done
expect 2 '--json t.npz: is the input t.npz' compare g.h5 t.npz --json t.npz
expect 0 '' export g.h5 --to t.npz --only 'forward/*'
expect 2 '--json t.npz: is the input t.npz' compare g.h5 t.npz --json t.npz --force
expect 2 '--json t.npz: is the input t.npz' leak --subject file:t.npz --json t.npz --force
ln -s g.h5 link.npz
expect 2 '--to link.npz: is the input g.h5' export g.h5 --to link.npz --force
echo '{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
       "vocab_size": 40}' >c.json
expect 2 '--out c.json: is the input c.json' generate --config c.json --seq 4 --out c.json --force
expect 2 '--json c.json: is the input c.json' bench --config c.json --json c.json --force
expect 0 '' export g.h5 --to model
expect 2 '--out model/model.safetensors: is the input model/model.safetensors' \
  generate --weights model --seq 4 --out model/model.safetensors --force
expect 2 '--junit r: expected a file of its own, got that of --json' \
  prove --method 1 --json r --junit r
hold unharmed

# What is there and not ours stays, unless --force.
echo precious >notes
for option in --json --report --junit; do
  expect 2 "$option notes: the file exists and is not one that this option wrote; --force" \
    prove --method 1 $option notes
done
expect 2 '--json notes: the file exists' suite verify ci --only 'plain-*-b1-t1' --json notes
expect 2 '--json notes: the file exists' suite generate ci --only 'plain-*-b1-t1' --dir s --json notes
expect 2 '--json notes: the file exists' bench --preset tiny --seq 4 --json notes
hold grep -q precious notes
expect 0 '' prove --method 1 --json r.json
expect 0 '' prove --method 1 --json r.json # a report of ours is replaced
expect 0 '' prove --method 1 --json notes --force
hold grep -q assay_report notes
mkdir -p s
echo precious >s/plain-llama-gqa-b1-t1.h5
expect 2 'the file exists and is not one' suite generate ci --only plain-llama-gqa-b1-t1 --dir s
hold grep -q precious s/plain-llama-gqa-b1-t1.h5

# Links keep their place, devices and pipes are written through.
mkdir -p reports
echo '{"hidden_size": 16}' >reports/real.json
: >reports/empty.json
ln -s reports/empty.json report.json
expect 0 '' prove --method 1 --json report.json
hold test -L report.json
hold grep -q assay_report reports/empty.json
ln -s nowhere dangling
expect 2 'dangling: a symbolic link to nowhere, which does not exist' prove --method 1 --json dangling
expect 2 'dangling: a symbolic link to nowhere, which does not exist' generate --out dangling
expect 0 '' prove --method 1 --json /dev/null --report /dev/null --junit /dev/null
hold test -c /dev/null
expect 0 'root hash' generate --seq 4 --out /dev/null
hold test -c /dev/null
expect 0 '"assay_report"' prove --method 1 --quiet --json /dev/stdout
hold grep -q '"assay_report"' <("$ASSAY" prove --method 1 --quiet --json /dev/stdout)
"$ASSAY" prove --method 1 --json /dev/stdout >both
hold grep -q 'verdict: pass' both
hold grep -q '"assay_report"' both
mkfifo pipe
cat pipe >through.json &
expect 0 '' prove --method 1 --json pipe
wait
hold test -p pipe
hold grep -q '"assay_report"' through.json
expect 2 'nowhere/r.json: no such folder' prove --method 1 --json nowhere/r.json

# A closed or full standard output changes no verdict, and no file gets what was printed.
# code_of EXPECTED 'redirections' ARGUMENTS..
code_of() {
  local expected=$1 redirections=$2 status=0
  shift 2
  eval "\"\$ASSAY\" \"\$@\" >/dev/null 2>&1 $redirections" || status=$?
  [ "$status" -eq "$expected" ] ||
    { echo "assay $* $redirections: expected exit code $expected, got $status"; failures=$((failures + 1)); }
}
for redirections in '>&-' '2>&-' '>&- 2>&-' '<&- >&- 2>&-' '>/dev/full 2>/dev/null' '2>/dev/full >/dev/null' \
  '>/dev/full 2>/dev/full'; do
  code_of 0 "$redirections" verify g.h5 --subject reference --precision fp64 --json kept.json
  hold grep -q '"exit_code": 0' kept.json
  rm -f kept.json
  code_of 1 "$redirections" prove --method pt
  code_of 2 "$redirections" verify missing.h5
  code_of 0 "$redirections" generate --seq 4 --out closed.h5 --force
  code_of 0 '>/dev/null' inspect closed.h5
done
code_of 2 '>/dev/full 2>said' inspect g.h5
hold grep -q 'standard output cannot be written: No space left on device' said
"$ASSAY" inspect g.h5 2>said | true
hold test ! -s said

[ "$failures" -eq 0 ] && echo "outputs: every case as expected"
exit $((failures > 0))
