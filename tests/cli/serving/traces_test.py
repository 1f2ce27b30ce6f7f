"""`assay serve-sim`: formats of traces, and traces that are none.

usage: traces_test.py ASSAY
"""

import gzip
import json

from runs import AZURE, lines, run_all

BURST = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,12,4,16,Conversation log
45,GPT-4,7,3,10,API log
"""
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,3,2\n0.25,4,2\n"
SHAREGPT = [
    {"id": "a", "conversations": [{"from": "human", "value": "hello"},
                                  {"from": "gpt", "value": "hi"},
                                  {"from": "human", "value": "more"}]},
    {"id": "b", "conversations": [{"from": "human", "value": "?", "tokens": 9},
                                  {"from": "gpt", "value": "!", "tokens": 3}]},
]
PAIRS = [{"prompt_len": 5, "output_len": 2}, {"prompt_len": 6, "output_len": 3}]
MOONCAKE = [{"timestamp": 100, "input_length": 9, "output_length": 2, "hash_ids": [0]},
            {"timestamp": 350, "input_length": 4, "output_length": 2, "hash_ids": [1]}]

TURNS = [{"role": "user", "content": [{"type": "text", "text": "who"}]},
         {"role": "assistant", "content": "they."}, {"role": "user", "content": "why"}]


def test_formats(runs):
    cases = [("azure.csv", AZURE, [], [(14, 4), (36, 9), (9, 5)], [0, 0.052, 0.09822]),
             ("azure_crlf.csv", "\ufeff" + AZURE.replace("\n", "\r\n"), [],
              [(14, 4), (36, 9), (9, 5)], [0, 0.052, 0.09822]),
             ("zones.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n"
              "2024-05-10 00:00:00.25+00:00,2,1\n2024-05-10T02:00:00.5+02:00,3,1\n", [],
              [(2, 1), (3, 1)], [0, 0.25]),
             ("burst.csv", BURST, [], [(12, 4), (7, 3)], [0, 40]),
             ("vidur.csv", VIDUR, [], [(3, 2), (4, 2)], [0, 0.25]),
             ("tabs.tsv", VIDUR.replace(",", "\t"), [], [(3, 2), (4, 2)], [0, 0.25]),
             ("share.json", json.dumps(SHAREGPT), [], [(5, 2), (9, 3)], [0, 0]),
             ("share_indented.json", json.dumps(SHAREGPT, indent=1), [], [(5, 2), (9, 3)], [0, 0]),
             ("pairs.json", json.dumps(PAIRS), [], [(5, 2), (6, 3)], [0, 0]),
             ("under_a_key.json", json.dumps({"about": "x", "requests": PAIRS}), [],
              [(5, 2), (6, 3)], [0, 0]),
             ("mooncake.jsonl", lines(MOONCAKE), ["--time-unit", "ms"], [(9, 2), (4, 2)],
              [0, 0.25]),
             ("texts.jsonl", lines([{"prompt": "what", "completion": "that"},
                                    {"prompt": "who", "output": [1, 2]}]), [],
              [(4, 4), (3, 2)], [0, 0]),
             ("mooncake_says_nothing.jsonl", lines(MOONCAKE), [], [(9, 2), (4, 2)], [0, 0.25]),
             ("like_mooncake.jsonl", lines(dict(row, chat_id=7) for row in MOONCAKE), [],
              [(9, 2), (4, 2)], [0, 250]),
             ("burst_sessions.csv", "Timestamp,Session ID,Elapsed time,Model,Request tokens,"
              "Response tokens,Total tokens,Log Type\n5.5,s,1.5,ChatGPT,12,3,15,API log\n", [],
              [(12, 3)], [0]),
             ("splitwise.csv", "request_id,request_type,application_id,arrival_timestamp,"
              "batch_size,prompt_size,token_size\n0,2,0,0.5,1,5,3\n1,2,0,0.75,1,4,2\n", [],
              [(5, 3), (4, 2)], [0, 0.25]),
             ("returns_alone.csv", AZURE.replace("\n", "\r"), [], [(14, 4), (36, 9), (9, 5)],
              [0, 0.052, 0.09822]),
             ("comment.csv", "# a trace\n" + VIDUR, [], [(3, 2), (4, 2)], [0, 0.25]),
             ("texts.csv", 'prompt,completion\n"two\nlines, ""so""",3\nwho,that\n', [],
              [(15, 3), (3, 4)], [0, 0]),
             ("unsorted.csv", VIDUR + "-1.0,5,1\n", ["--requests", "2"], [(3, 2), (4, 2)],
              [0, 0.25]),
             ("ns.csv", VIDUR.replace("0.25", "250000000"), ["--time-unit", "ns"],
              [(3, 2), (4, 2)], [0, 0.25]),
             ("benchmark.json", json.dumps({"num_prompts": 2, "input_lens": [4, 5],
                                            "output_lens": [2, 3], "start_times": [9.5, 10.0],
                                            "generated_texts": ["a", "b"]}), [],
              [(4, 2), (5, 3)], [0, 0.5]),
             ("chat.jsonl", lines([{"messages": TURNS, "max_completion_tokens": 4}]), [],
              [(11, 4)], [0]),
             ("tuning.jsonl", lines([{"messages": TURNS}]), [], [(3, 5)], [0]),
             ("batch.jsonl", lines([{"custom_id": "r", "method": "POST", "url": "/v1/x",
                                     "body": {"messages": TURNS[:1], "max_tokens": 2}}]), [],
              [(3, 2)], [0]),
             ("usage.jsonl", lines([{"id": "x", "response": {"body": {
                 "created": 17, "usage": {"prompt_tokens": 5, "completion_tokens": 3}}}}]), [],
              [(5, 3)], [0]),
             ("input.jsonl", lines([{"input": TURNS[:1], "max_output_tokens": 2},
                                    {"inputs": "abc", "parameters": {"max_new_tokens": 1}}]), [],
              [(3, 2), (3, 1)], [0, 0]),
             ("own.jsonl", lines([{"id": "x", "arrival_ms": 30, "tokens": [1, 2, 3],
                                   "max_new_tokens": 2}]), [], [(3, 2)], [0])]
    for name, text, options, lengths, arrivals in cases:
        report = runs.report(runs.write(name, text), *options, "--check", "all")
        got = [(r["prompt_tokens"], r["max_new_tokens"]) for r in report["requests"]]
        assert got == lengths, (name, got)
        for request, arrival, (_, new) in zip(report["requests"], arrivals, lengths):
            assert abs(request["arrived_s"] - arrival) < 1e-7, (name, request)
            assert len(request["tokens"]) == new, (name, request)
        assert report["verdict"] == "pass" and len(report["checks"]) == 3, report["checks"]


def test_bad_traces(runs):
    cases = [("", "empty: expected a trace"),
             ("\n\n", "empty: expected a trace"),
             ("hello world\n1 2\n", "expected columns of arrival, prompt tokens"),
             ("TIMESTAMP,ContextTokens\n1,2\n", "expected columns of arrival, prompt tokens"),
             ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "expected requests, got none"),
             (AZURE + "2023-11-16 18:17:05,1\n", "line 5: expected 3 fields as in the header, got"),
             (AZURE + "2023-13-16 18:17:05,1,1\n", "5: TIMESTAMP: expected a number or a date"),
             (AZURE + ",1,1\n", "line 5: expected an arrival as in other rows, got none"),
             (AZURE + "2023-11-16 18:17:05,-1,1\n",
              "line 5: ContextTokens: expected a whole number of tokens, got -1"),
             (AZURE + "2023-11-16 18:17:05,1,1.5\n", "GeneratedTokens: expected a whole number"),
             (AZURE + "2023-11-16 18:17:05,many,1\n", "ContextTokens: expected a whole number"),
             (AZURE + "2093-11-16 18:17:05,1,1\n",
              "line 5: expected an arrival within 1e+09 s of the first"),
             ("TIMESTAMP,ContextTokens,GeneratedTokens\n-1e308,1,1\n1e308,1,1\n",
              "line 3: expected an arrival within 1e+09 s of the first"),
             (AZURE + '"2023-11-16 18:17:05,1,1\n', "line 5: expected 3 fields as in the header"),
             ("\ufeff", "empty: expected a trace"),
             ('{"input_lens": [1], "output_lens": []}', "expected lists of one length, got 1"),
             (AZURE + "nan,1,1\n", "line 5: TIMESTAMP: expected a number or a date"),
             ('{"tokens": [1], "max_new_tokens": 1}\n{"tokens": [1]}\n',
              "line 2: expected a number of new tokens"),
             ('{"max_new_tokens": 1}\n', "line 1: expected a prompt"),
             ('{"tokens": [1.5], "max_new_tokens": 1}\n', "line 1: tokens: expected whole numbers"),
             ('{"tokens": {}, "max_new_tokens": 1}\n', "line 1: tokens: expected a list of tokens"),
             ('{"tokens": [1], "max_new_tokens": {}}\n', "max_new_tokens: expected a number"),
             ('{"tokens": [1], "max_new_tokens": 1, "arrival_s": "soon"}\n',
              "expected a number or"),
             ('{"tokens": [1], "max_new_tokens": 1}\n{"tokens": [1', "line 2"),
             ("[]", "expected requests, got none"),
             ("[1]", "request 0: request: expected an object"),
             ('{ "a":\n1}', "expected a list of requests, got an object without one")]
    for text, words in cases:
        path = runs.write("bad.jsonl" if text.startswith('{"') else "bad.trace", text)
        runs.command.expect(2, words, "serve-sim", "--trace", path)
    runs.command.expect(2, "nowhere", "serve-sim", "--trace", str(runs.folder / "nowhere"))
    for content, words in [(gzip.compress(AZURE.encode()), "a gzip file: gunzip it first"),
                           (b"PK\x03\x04" + bytes(40), "a zip archive: unpack it first"),
                           (AZURE.encode("utf-16"), "UTF-16: save it as UTF-8"),
                           (b"PAR1" + bytes(40), "a Parquet file")]:
        path = runs.folder / "other.csv"
        path.write_bytes(content)
        runs.command.expect(2, words, "serve-sim", "--trace", str(path))


if __name__ == "__main__":
    run_all(globals())
