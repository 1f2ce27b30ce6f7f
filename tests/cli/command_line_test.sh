#!/usr/bin/env bash
# The program as a user runs it. ASSAY is the path of the program.
# shellcheck source=tests/cli/expect.sh
source "$(dirname "$0")/expect.sh"

# Help is everywhere and succeeds.
expect 0 'generate.*write a golden file' --help
for command in methods tensors generate verify compare export prove leak inspect suite bench subjects data overfit; do
  expect 0 'help' "$command" --help
done
expect 0 '^assay [0-9]+\.' --version

# Every command that takes a subject names each one of the table, and so does the error.
subjects=$("$ASSAY" subjects | sed -n '/^subject /,/^$/{/^subject /d; /^$/d; s/ .*//p}')
[ "$(wc -w <<<"$subjects")" -ge 5 ] || { echo "assay subjects: expected 5 or more, got: $subjects"; failures=$((failures + 1)); }
for subject in $subjects; do
  for command in verify leak 'suite verify'; do
    # shellcheck disable=SC2086
    "$ASSAY" $command --help | grep -F "$subject (" > /dev/null ||
      { echo "assay $command --help: no $subject"; failures=$((failures + 1)); }
  done
  expect 2 "--subject tpu: expected .*$subject" leak --subject tpu
done
for subject in file file: reference:stacked simtx; do
  expect 2 "--subject $subject: expected simt, cuda, reference" leak --subject $subject
done

# What is mistyped gets told what was expected.
expect 2 'expected a command: methods, tensors, generate' frobnicate
expect 2 'expected a command' ''
expect 2 "generate: .*--sequence.*'assay generate --help'" generate --out g.h5 --sequence 3
expect 2 '--out.*required' generate
expect 2 '--method 7: no such method; have plain, 1, ' generate --method 7 --out g.h5
expect 2 '--preset huge: no such preset; have tiny, small, author' generate --preset huge --out g.h5
expect 2 '--residual swap: expected keep or replace' generate --method 1 --residual swap --out g.h5
expect 2 '--residual: method 5.1 has no such option' generate --method 5.1 --residual keep --out g.h5
expect 2 '--capture some: ' generate --capture some --out g.h5
expect 2 'nowhere/g.h5|nowhere' generate --out nowhere/g.h5
expect 2 'missing.json: (cannot be read|no such file)' generate --config missing.json --out g.h5
expect 2 'missing.txt: cannot be read' generate --preset small --tokens missing.txt --out g.h5
echo 'To be, or not to be, that is the question: whether this is nobler in the mind' >text.txt
seq 16 >ids.txt
expect 0 'tokens ids.txt: numbers' leak --method plain --subject reference --precision fp64 --tokens ids.txt --seq 8
expect 2 'expected vocab_size >= 256, got 64' generate --tokens text.txt --out g.h5
expect 2 'missing.h5' verify missing.h5
expect 2 'missing.h5' inspect missing.h5

# The benchmark: a table and the same in JSON. Speeds are nobody's claim here.
expect 0 'forward\+backward' bench --preset tiny --seq 8 --runs 1 --no-scaling --json b.json
grep -q '"fraction_of_dgemm_peak"' b.json || { echo 'b.json: no fraction'; failures=$((failures + 1)); }
expect 2 '--products fast: expected ordered or blas' bench --products fast

# Suites: what they hold, what is mistyped, what is made and what is left alone.
expect 0 '^plain-llama-gqa-b1-t33 +\[1,33\].*' suite list ci
expect 2 'suite nothing: no such suite; have ci, full, exact, stress, device' suite list nothing
expect 2 'suite ci: no case matches 7-' suite list ci --only '7-*'
expect 0 '2 cases, 2 written, 0 up to date, 0 failed' suite generate ci --only 'plain-*-b1-*' --dir s
expect 0 '2 cases, 0 written, 2 up to date, 0 failed' suite generate ci --only 'plain-*-b1-*' --dir s --json s.json
grep -q '"state": "up to date"' s.json || { echo 's.json: no state'; failures=$((failures + 1)); }
bundled=plain-llama-gqa-b2-t7-padded
expect 0 'bundle p: 1 cases of suite device' suite bundle device --only $bundled --dir d --out p
grep -q "\"file\": \"$bundled.safetensors\"" p/bundle.json || { echo 'bundle.json: no case'; failures=$((failures + 1)); }
expect 2 "$bundled.safetensors: .*exists" suite bundle device --only $bundled --dir d --out p
expect 2 'expected values that fp16 holds' suite bundle ci --only 'plain-llama-gqa-b1-t33' --dir s --out q
expect 2 'plain-llama-gqa-b1-t1: expected a case judged by bounds on every tensor, got left_out' \
  suite bundle ci --only 'plain-llama-gqa-b1-t1' --dir s --out q
expect 2 'failed: case plain.* raise --memory' suite generate ci --only 'plain-*-b3-*' --dir s --memory 1K
expect 2 'no root hashes are committed' suite hashes full --compare --only 'plain-*-b1-t2'
expect 0 '^[0-9a-f]{32}  plain-llama-gqa-b1-t1$' suite hashes ci --only 'plain-*-b1-t1'
expect 0 '1 cases, 0 differ' suite hashes ci --only 'plain-*-b1-t1' --compare
printf '%032d  plain-llama-gqa-b1-t1\n' 0 >other.hashes
expect 1 'plain-llama-gqa-b1-t1: root hash: expected 0{32}, got' \
  suite hashes ci --only 'plain-*-b1-t1' --compare --hash-file other.hashes
printf '{"assay_suite": 1, "blocks": {}, "entries": [{"methods": ["plain"], "blocks": ["x"], "heads": ["mha"],
  "shapes": [{"positions": 3}]}]}' >mine.json
expect 2 'mine.json: entry 0: blocks: x: no such block' suite list mine.json

# A suite is judged case by case; what cannot be run is skipped, and nothing judged is no pass.
expect 0 '2 written' suite generate ci --only '*-b1-t33' --dir v
expect 0 '^pass +5.1-llama-gqa-b1-t33 bf16' suite verify ci --only '*-b1-t33' --dir v --json v.json --junit v.xml
expect 0 '2 verdicts, 2 pass' suite verify ci --only '*-b1-t33' --dir v --subject reference --precision fp64
expect 0 '^pass +5.1-llama-gqa-b1-t33 tf32' suite verify ci --only '*-b1-t33' --dir v --subject simt --precision tf32
# No GPU, or a GPU that has no fp64 kernels.
command -v nvidia-smi >/dev/null && unjudged=3 || unjudged=77
expect $unjudged 'skipped +plain.* (--subject cuda: skipped|expected fp32, tf32, bf16 or fp16, got fp64)' \
  suite verify ci --only '*-b1-t33' --dir v --subject cuda --precision fp64
expect $unjudged 'verdict: skipped: what is skipped is not a pass' \
  suite verify ci --only '*-b1-t33' --dir v --subject cuda --precision fp64
expect 3 "inconclusive +plain-llama-gqa-b1-t33 fp32 .*no file; 'assay suite generate' makes it" \
  suite verify ci --only '*-b1-t33' --dir nowhere
expect 2 'subject nobody: expected' suite verify ci --only '*-b1-t33' --dir v --subject nobody
expect 1 '[0-9]+ of 52 checkpoints differ' verify v/plain-llama-gqa-b1-t33.h5 --equal --precision bf16
grep -q 'plain-llama-gqa-b1-t33 fp32' v.json || { echo 'v.json: no case'; failures=$((failures + 1)); }
grep -q 'plain-llama-gqa-b1-t33 bf16' v.xml || { echo 'v.xml: no case'; failures=$((failures + 1)); }
# with every check and checkpoint of each case, and the command that judges it alone.
for part in 'numerics: ledger' 'layers/0/attn/probs'; do
  for file in v.json v.xml; do
    grep -q "\"$part\"" $file || { echo "$file: no $part"; failures=$((failures + 1)); }
  done
done
again=$(sed -n 's/^ *"command": "\(assay verify v.*\)",$/\1/p' v.json | head -1)
# shellcheck disable=SC2086
expect 0 'verdict: pass' ${again#assay }

# Without a rounding: our kernels have the golden values bit for bit, in every precision.
expect 0 '3 written' suite generate exact --only '*-llama-gqa-b3-*' --dir x
expect 0 '9 verdicts, 9 pass' suite verify exact --only '*-llama-gqa-b3-*' --dir x --subject simt
expect 2 '--block mamba: no such block; have llama, gpt2' generate --block mamba --out g.h5
expect 2 '--norm: block llama has no such option; gpt2 has it' generate --norm post --out g.h5
expect 2 '--norm top: expected pre or post' generate --block gpt2 --norm top --out g.h5
expect 2 '--activation relu: expected gelu_new or gelu' generate --block gpt2 --activation relu --out g.h5
expect 2 'num_key_value_heads: expected a divisor of num_attention_heads = 4, got 3' \
  generate --kv-heads 3 --out g.h5

# A config.json with a fault names the key; one without works.
echo '{"hidden_size": 16}' >bad.json
expect 2 'bad.json: key "intermediate_size" is missing' generate --config bad.json --out g.h5
echo '{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
       "num_key_value_heads": 2, "vocab_size": 40, "assay": {"method": "5.1"}}' >good.json
expect 0 'method 5.1' generate --config good.json --seq 9 --out config.h5

# Generate, look, verify.
expect 0 'root hash [0-9a-f]{32}' generate --method 1 --seq 20 --out g.h5
expect 2 'g.h5: .*exists' generate --method 1 --seq 20 --out g.h5
expect 0 'root hash' generate --method 1 --seq 20 --out g.h5 --force
expect 0 'every hash as in the manifest' inspect g.h5
expect 0 'layers/1/recompute/0/context' inspect g.h5 --only '*/recompute/*'
expect 0 'root hash' generate --method 1 --seq 9 --dependence --out dependence.h5
expect 0 'dependence: of ([0-9]+) tensors \1 see no position after their own$' inspect dependence.h5
expect 0 '/dependence/logits +uint8 +\[9,9\]' inspect dependence.h5 --only '/dependence/*'
expect 0 'root hash' generate --method pt --seq 9 --dependence --out dependence-pt.h5
expect 0 'see no position after their own, not so /dependence/logits$' inspect dependence-pt.h5
expect 2 '--dependence: 4096 positions: expected relations of at most 4 GiB' \
  generate --method 1 --seq 4096 --dependence --out long.h5
expect 0 '' verify g.h5 --subject simt --precision fp32
# A name of a list that is mistyped is no pass of the others.
expect 2 '--only logit: the golden file has no such tensor' verify g.h5 --subject reference --precision fp64 --only logits,logit
expect 0 '' verify g.h5 --subject simt --precision bf16 --leakage \
  --report r.html --json r.json --junit r.xml
for report in r.html r.json r.xml; do
  [ -s "$report" ] || { echo "no $report"; failures=$((failures + 1)); }
done
expect 3 'cuts x 2 suffixes: .* 9 of 20 positions' verify g.h5 --subject simt --leakage --leakage-positions 9
expect 0 '' verify g.h5 --subject reference --precision fp64
expect 2 '--only no/such/\*: the golden file has no such tensor' verify g.h5 --only 'no/such/*'
expect 2 '--leave-out los: neither golden file nor subject' verify g.h5 --leave-out logits,los
expect 2 '--subject tpu: expected simt, cuda, reference' verify g.h5 --subject tpu
expect 2 'backend simt:stored: expected :stacked, :stored=BYTES' verify g.h5 --subject simt:stored
expect 0 'simt, stacked recompute, probabilities stored within 1000000 bytes, bf16' \
  verify g.h5 --subject simt:stacked:stored=1000000 --precision bf16
expect 2 'backend simt:stack=1k: stack: expected a number of bytes' verify g.h5 --subject simt:stack=1k
expect 0 'stacks within 1 bytes, logits within 300 bytes' verify g.h5 --subject simt:stacked:stack=1:head=300
expect 2 '--precision fp8: no such precision' verify g.h5 --precision fp8

# Every tensor of a model by name, with its shape and what it is.
expect 0 '^layers/2/recompute/1/mlp_act +\[1,64,48\] +\[B,T,F\] ' tensors --method 1
expect 2 '--method 7: no such method' tensors --method 7

# The Probabilistic Transformer.
expect 0 'pt.message = full | symmetric | head' methods
expect 0 'method pt' generate --method pt --seq 9 --grad --out pt.h5
expect 0 'verdict: pass' verify pt.h5 --subject simt --precision bf16
expect 0 '' verify pt.h5 --subject reference --precision bf16
sed 's/"method": "5.1"/"method": "pt", "pt": {"causal_heads": true}/' good.json >pt.json
expect 2 'pt.json: pt: message: full is not causal with causal heads' prove --config pt.json
sed -i 's/"causal_heads": true/"causal_heads": true, "message": "head", "output": "causal"/' pt.json
expect 0 'causal for all inputs' prove --config pt.json

# Families.
expect 0 'attn/k_norm +\[1,2,4,8\]' tensors --family qwen3 --seq 4
expect 2 '--family phi3: no such family; have llama, mistral, qwen2, qwen3, gpt2' tensors --family phi3
expect 2 '--block excludes --family' tensors --family qwen3 --block gpt2
expect 2 '--qk-norm maybe: expected on or off' tensors --qk-norm maybe
expect 2 'attention_bias: expected none, qkv' tensors --attention-bias q
expect 2 'qk_norm: an option of the Llama block' tensors --block gpt2 --qk-norm on
expect 2 'full_layers: expected none without a window' tensors --full-layers 0
expect 0 'causal for all inputs' prove --family qwen3 --attention-bias all --window 4 --full-layers 0,2 --seq 9

# The GPT-2 block.
expect 0 'method 1, .* tensors' generate --block gpt2 --norm post --kv-heads 2 --method 1 --seq 12 --out gpt2.h5
expect 0 '' verify gpt2.h5 --subject reference --precision fp64
expect 0 'verdict: pass' verify gpt2.h5 --subject simt
expect 0 'causal for all inputs' prove --block gpt2 --method 5.1
expect 2 'the model has learned 1024 positions: expected T <= 1024, got 1025' \
  generate --block gpt2 --seq 1025 --out long.h5
echo '{"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 16, "vocab_size": 40,
       "scale_attn_by_inverse_layer_idx": true}' >bad_gpt2.json
expect 2 'bad_gpt2.json: scale_attn_by_inverse_layer_idx: ' generate --config bad_gpt2.json --out g2.h5

# A golden file has every tensor of a perfect candidate, and none of another seed's.
expect 0 '' compare g.h5 g.h5 --precision fp64
expect 0 '' generate --method 1 --seq 20 --seed 2 --tokens g.h5 --out other.h5
expect 1 'seed' compare g.h5 other.h5 --precision fp64
expect 1 '' compare g.h5 config.h5 --precision fp64

# Damage is an error, not a verdict.
cp g.h5 damaged.h5
printf 'X' | dd of=damaged.h5 bs=1 seek=30000 conv=notrunc status=none
expect 2 'damaged.h5' verify damaged.h5 --subject simt
head -c 5000 g.h5 >short.h5
expect 2 'short.h5: .*truncated: expected [0-9]+ bytes, got 5000' verify short.h5

# Tokens of a dump, or of a golden file; a dump of other tokens is no candidate.
expect 0 'tokens of a dump, \[1,20\]' generate --method 1 --seq 20 --tokens g.h5 --out of-dump.h5
expect 0 '' generate --method 1 --seq 20 --seed 9 --out of-others.h5
expect 2 'its tokens are not those of the golden file: at \(0,0\) expected' compare g.h5 of-others.h5
expect 2 'short.h5: ' generate --method 1 --seq 20 --tokens short.h5 --out x.h5

# Less in the file, the same verdict.
expect 0 '' generate --method 1 --seq 20 --capture hash --out hash.h5
expect 0 '' verify hash.h5 --subject simt --precision fp32

# A model goes out as a checkpoint and comes back with the same hash; only its own weights count.
expect 0 'config.json and model.safetensors with 30 weights' export g.h5 --to model
expect 2 'model/config.json: the file exists; --force' export g.h5 --to model
expect 0 '' export g.h5 --to bf16 --dtype bf16
expect 0 'root hash' generate --weights model --method 1 --seq 20 --out back.h5
same() { [ "$("$ASSAY" inspect "$1" | grep '/forward/')" = "$("$ASSAY" inspect "$2" | grep '/forward/')" ]; }
same g.h5 back.h5 || { echo "a checkpoint gives other tensors than its golden file"; failures=$((failures + 1)); }
expect 0 'xxh3_128' inspect back.h5
expect 0 '' generate --weights model --method 1 --seq 20 --weight-memory 20k --out little.h5
root_of() { "$ASSAY" inspect "$1" | grep 'root hash'; }
[ "$(root_of back.h5)" = "$(root_of little.h5)" ] || { echo "--weight-memory changes values"; failures=$((failures + 1)); }
expect 2 'a gradient keeps every weight' generate --grad --weight-memory 1G --out x.h5
expect 2 'weight-memory' generate --weight-memory some --out x.h5
expect 2 '--weights.*excludes.*--preset|--preset.*excludes.*--weights' \
  generate --weights model --preset tiny --out x.h5
expect 2 'nothing: expected|expected a folder|config.json: no such file' generate --weights nothing --out x.h5
head -c 3000 model/model.safetensors >short.safetensors
mkdir cut && cp model/config.json cut && cp short.safetensors cut/model.safetensors
expect 2 'cut/model.safetensors: ' generate --weights cut --out x.h5
expect 0 '' export other.h5 --to other
expect 0 '' generate --weights other --method 1 --seq 20 --seed 5 --capture hash --out real.h5
expect 2 'the seed does not give them.*--weights' verify real.h5 --subject reference
expect 2 'was made with other weights than those of model' verify real.h5 --subject reference --weights model
expect 0 '' verify real.h5 --subject reference --weights other
expect 0 '' verify real.h5 --subject simt --weights other

# Tensors go out to other formats and come back as a perfect candidate.
for file in t.npz t.safetensors; do
  expect 0 'tensors of g.h5' export g.h5 --to $file --only 'forward/*'
  expect 0 '' compare g.h5 $file --precision fp64
  expect 1 "again: assay compare other.h5 $file --precision fp64 --only /" compare other.h5 $file --precision fp64
done
expect 2 'does not hold .* exactly; --round' export g.h5 --to f.npz --dtype fp32
expect 0 '' export g.h5 --to f.npz --dtype fp32 --round
expect 3 'free-running 0 of 75 checkpoints outside' compare g.h5 f.npz --precision fp32
expect 2 'no tensor matches' export g.h5 --to x.npz --only 'no/such/*'
expect 2 '--dtype fp8: expected fp64' export g.h5 --to x.npz --dtype fp8
expect 2 'a folder holds a whole model' export g.h5 --to x --only 'forward/*'
expect 2 'short.safetensors: ' compare g.h5 short.safetensors

# Detectors that a dump leaves out are asked for and not passed.
expect 3 'skipped +leak detectors' leak --method 1 --seq 20 --subject file:g.h5 --precision fp64
expect 3 'verdict: skipped' verify g.h5 --leakage --subject file:g.h5 --precision fp64
expect 0 'causal for all inputs' prove --method 1
expect 1 'leak at ' prove --method pt
expect 0 'who sees whom' leak --method 1 --subject simt --precision fp32 --seq 12

# Their reports hold the same verdict in every form, as those of verify do.
# reports_hold VERDICT EXIT_CODE CHECK ARGUMENTS..
reports_hold() {
  local verdict=$1 code=$2 check=$3
  shift 3
  rm -f l.json l.xml l.html
  [ -z "$("$ASSAY" "$@" --quiet --json l.json --junit l.xml --report l.html 2>&1)" ] ||
    { echo "assay $* --quiet: expected no output"; failures=$((failures + 1)); }
  expect "$code" "verdict: $verdict" "$@" --json l.json --junit l.xml --report l.html
  grep -q "\"verdict\": \"$verdict\"" l.json && grep -q "\"name\": \"$check\"" l.json &&
    grep -q "name=\"$check\"" l.xml && grep -q "<p class=\"verdict $verdict\">$verdict</p>" l.html &&
    grep -q "<td>$check</td>" l.html ||
    { echo "assay $*: a report lacks the verdict or $check"; failures=$((failures + 1)); }
}
reports_hold pass 0 'structural proof' prove --method 1
reports_hold fail 1 'structural proof' prove --method pt
grep -q '<failure message="fail: leak at ' l.xml || { echo 'l.xml: no failure'; failures=$((failures + 1)); }
reports_hold pass 0 prefix leak --method 1 --subject simt --seq 9
grep -q '"first_layer"' l.json || { echo 'l.json: no influence'; failures=$((failures + 1)); }
grep -q '<svg class="influence"' l.html || { echo 'l.html: no map'; failures=$((failures + 1)); }
reports_hold fail 1 prefix leak --method pt --subject simt --seq 9

# Correct implementations, none accused; the same ones wherever they are drawn.
expect 0 'seed 3: 6 cases.*; 0 alarms' campaign clean --cases 6 --seed 3
expect 0 'case 2: pass: .*' campaign clean --cases 1 --first 2 --seed 3 --show
if ! command -v nvidia-smi >/dev/null; then
  expect 77 'skipped' verify g.h5 --subject cuda
fi

[ "$failures" -eq 0 ] && echo "command line: every case as expected"
exit $((failures > 0))
