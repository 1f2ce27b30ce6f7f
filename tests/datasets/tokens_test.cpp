// Tokens from files of every kind: the ids that are there, or what is in the way.
#include "datasets/tokens.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>

#include "datasets/source.h"
#include "golden/contract/error.h"
#include "golden/exchange/npz.h"
#include "tests/golden/sample.h"

namespace tt = boost::test_tools;

namespace assay::datasets {
namespace {

using namespace golden::sample;
using Values = std::vector<int32_t>;

constexpr int64_t kVocabulary = 50257;

struct Files : TemporaryFolder {
  std::string put(const std::string& name, const std::string& bytes) const {
    put_bytes(file(name), bytes);
    return file(name);
  }
};

template <class T>
std::string packed(const std::vector<int64_t>& values) {
  std::string bytes;
  for (const int64_t value : values) {
    const T element = static_cast<T>(value);
    bytes.append(reinterpret_cast<const char*>(&element), sizeof element);
  }
  return bytes;
}

std::string llmc(int32_t magic, int32_t version, int32_t tokens, const std::string& data) {
  std::vector<int64_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = tokens;
  return packed<int32_t>(header) + data;
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& data) {
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  text.resize(117, ' ');
  text += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + std::string("\x76\x00", 2) + text + data;
}

std::vector<int64_t> counted(int64_t count, int64_t first = 300) {
  std::vector<int64_t> values(static_cast<std::size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = first + i;
  return values;
}

Tokens read(const std::string& path, int64_t batch = 2, int64_t positions = 3,
            TokensFormat format = TokensFormat::automatic, int64_t vocabulary = kVocabulary) {
  return read_tokens(path, format, batch, positions, vocabulary);
}

const Values kStream{300, 301, 302, 303, 304, 305};  // of counted()
const Values kRows{1, 2, 3, 5, 6, 7};                // of rows of four, cut to three

void check(const std::string& path, const Values& expected, const std::string& read_as) {
  const Tokens got = read(path);
  BOOST_TEST_CONTEXT(path) {
    BOOST_TEST(got.values == expected, tt::per_element());
    BOOST_TEST(contains(got.read_as, read_as), got.read_as);
  }
}

void check_refused(const std::string& path, const std::string& message, int64_t batch = 2,
                   int64_t positions = 3) {
  const std::string said = complaint([&] { read(path, batch, positions); });
  BOOST_TEST(contains(said, path + ": " + message), said);
}

}  // namespace

BOOST_AUTO_TEST_CASE(ids_in_binary_files_are_ids) {
  const Files f;
  check(f.put("a.bin", packed<uint16_t>(counted(40))), kStream,
        "uint16 without a header, as nanoGPT has it, 6 of 40 tokens");
  check(f.put("b.bin", packed<uint32_t>(counted(40))), kStream, "uint32 without a header");
  check(f.put("c.bin", llmc(20240520, 1, 40, packed<uint16_t>(counted(40)))), kStream,
        "uint16 behind a header of llm.c, version 1, 6 of 40 tokens");
  check(f.put("d.bin", llmc(20240801, 7, 40, packed<uint32_t>(counted(40)))), kStream,
        "uint32 behind a header of llm.c, version 7");
  check(f.put("no-ending", llmc(20240520, 1, 40, packed<uint16_t>(counted(40)))), kStream,
        "uint16");
  // Ids of a vocabulary beyond 2^16 have a high half that is not 0, but small.
  std::vector<int64_t> high = counted(40, 100000);
  BOOST_TEST(
      read(f.put("e.bin", packed<uint32_t>(high)), 1, 2, TokensFormat::automatic, 128256).values ==
      (Values{100000, 100001}));
  BOOST_TEST(
      read(f.put("f.tokens", packed<uint16_t>(counted(9))), 2, 3, TokensFormat::uint16).values ==
      kStream);
}

BOOST_AUTO_TEST_CASE(binary_files_that_cannot_be_right_are_refused) {
  const Files f;
  check_refused(f.put("few.bin", packed<uint32_t>(counted(9))),
                "may be uint16 or uint32; say which with --tokens-format");
  check_refused(f.put("odd.bin", packed<uint16_t>(counted(40)) + "x"),
                "expected whole numbers of 2 bytes, got 81 bytes");
  check_refused(f.put("less.bin", llmc(20240520, 1, 4, packed<uint16_t>(counted(40)))),
                "too short: expected at least 6 tokens for [2,3], got 4");
  check_refused(f.put("cut.bin", llmc(20240520, 1, 40, packed<uint16_t>(counted(4)))),
                "too short: expected at least 6 tokens for [2,3], got 4");
  check_refused(f.put("big.bin", packed<uint16_t>(counted(40, 60000))),
                "token 0: expected a token in 0 .. 50256, got 60000");
  check_refused(f.put("zeros", std::string("ab\0cdefgh", 9)), "holds zero bytes, so it is no text");
}

BOOST_AUTO_TEST_CASE(arrays_of_numpy_are_rows_or_a_stream) {
  const Files f;
  check(f.put("a.npy", npy("<u2", "(9,)", packed<uint16_t>(counted(9)))), kStream, "U16 [9]");
  const std::vector<int64_t> rows{1, 2, 3, 4, 5, 6, 7, 8};
  check(f.put("b.npy", npy("<i8", "(2, 4)", packed<int64_t>(rows))), kRows, "I64 [2,4]");
  check(f.put("c.npy", npy("<u4", "(2, 4)", packed<uint32_t>(rows))), kRows, "U32 [2,4]");
  check(f.put("named-otherwise", npy("|u1", "(2, 4)", packed<uint8_t>(rows))), kRows, "U8 [2,4]");
  check_refused(f.put("d.npy", npy("<f4", "(2, 4)", packed<float>(rows))),
                "expected whole numbers, got F32");
  check_refused(f.put("e.npy", npy("<i8", "(1, 2, 4)", packed<int64_t>(rows))),
                "expected [N] or [B,T], got [1,2,4]");
  check_refused(f.put("f.npy", npy("<i8", "(1, 8)", packed<int64_t>(rows))),
                "expected 2 rows, got 1");
  check_refused(f.put("g.npy", "no array"), "expected an array saved by numpy");
}

BOOST_AUTO_TEST_CASE(an_npz_file_has_one_array_of_tokens) {
  const Files f;
  const std::string path = f.file("a.npz");
  const auto write = [&](const std::vector<std::string>& names) {
    std::vector<golden::ExchangeTensor> tensors;
    for (const std::string& name : names) tensors.push_back({name, golden::Element::i32, {2, 4}});
    golden::write_npz(
        path, tensors,
        [](const std::string&) { return std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}; },
        golden::Rounding::refuse, true);
  };
  write({"x"});
  check(path, kRows, "numpy array x, I32 [2,4]");
  write({"attention_mask", "input_ids"});
  check(path, kRows, "numpy array input_ids");
  write({"x", "y"});
  check_refused(path, "expected an array input_ids or tokens, or a single one, got 2: x, y");
}

BOOST_AUTO_TEST_CASE(numbers_written_out_are_numbers) {
  const Files f;
  check(f.put("a.txt", "300 301 302 303 304 305 306\n"), kStream, "numbers, one after the other");
  check(f.put("b.txt", "300\n301\n302\n303\n304\n305\n306"), kStream, "one after the other");
  check(f.put("c.csv", "1,2,3,4\n5,6,7,8\n"), kRows, "numbers, a row a line");
  check(f.put("d.tsv", "1\t2\t3\t4\r\n5\t6\t7\t8"), kRows, "numbers, a row a line");
  check_refused(f.put("e.txt", "3 4 5.9 6 7 8 9"),
                "number 2: expected a whole number, got '5.9'; --tokens-format text reads bytes");
  check_refused(f.put("f.csv", "id,next\n1,2\n"), "number 0: expected a whole number, got 'id'");
  check_refused(f.put("g.csv", "1,2\n3,4\n5,6\n"), "row 0: expected at least 3 tokens, got 2");
  check_refused(f.put("h.txt", "31415926535897932384626433\n1\n2\n3"),
                "token 0: expected a token in 0 .. 50256");
  check_refused(f.put("i.txt", "-1 2 3 4 5 6"), "token 0: expected a token in 0 .. 50256, got -1");
}

BOOST_AUTO_TEST_CASE(lists_in_json_are_ids) {
  const Files f;
  check(f.put("a.json", "[[1, 2, 3, 4], [5, 6, 7, 8]]"), kRows, "lists in JSON");
  check(f.put("b.json", "[300, 301, 302, 303, 304, 305, 306]"), kStream, "lists in JSON");
  check(f.put("c.json", "{\"attention_mask\": [[1, 1]], \"input_ids\": [[1, 2, 3, 4], [5, 6, 7]]}"),
        kRows, "lists in JSON");
  check(f.put("d.txt", "[[1, 2, 3, 4], [5, 6, 7, 8]]"), kRows, "lists in JSON");
  check(f.put("e.jsonl", "[1, 2, 3, 4]\n\n{\"tokens\": [5, 6, 7, 8], \"text\": \"x\"}\n"), kRows,
        "lists in JSON, a row a line");
  check_refused(f.put("f.json", "[[1, 2, 5.9], [4, 5, 6]]"),
                "row 0, position 2: expected a whole number, got 5.9");
  check_refused(f.put("g.json", "[[1, 2], [4, 5, 6]]"), "row 0: expected at least 3 tokens, got 2");
  check_refused(f.put("h.json", "[[1, 2, 3]]"), "expected 2 rows, got 1");
  check_refused(f.put("i.json", "{\"text\": \"hello\"}"), "expected a JSON list of token ids");
  check_refused(f.put("j.jsonl", "{\"text\": \"hello\"}\n"),
                "line 1: expected a JSON list of token");
  check_refused(f.put("k.json", "[[1, 2, \"3\"], [4, 5, 6]]"),
                "row 0, position 2: expected a whole number, got \"3\"");
  check_refused(f.put("l.json", "[[[1, 2, 3]]]   "),
                "row 0, position 0: expected a whole number, got a list");
  check_refused(f.put("m.json", "[1, 2, 18446744073709551615, 4, 5]"), "token 2: expected a token");
  // What comes behind the tokens that are needed is not read.
  check(f.put("n.json", "[300, 301, 302, 303, 304, 305, no JSON"), kStream, "lists in JSON");
}

BOOST_AUTO_TEST_CASE(text_is_bytes_and_only_if_nothing_else_fits) {
  const Files f;
  check(f.put("a.txt", "To be, or not"), Values{'T', 'o', ' ', 'b', 'e', ','},
        "text, a byte a token, 6 of 13 bytes");
  check(f.put("b.txt", "[1] see there"), Values{'[', '1', ']', ' ', 's', 'e'}, "text");
  BOOST_TEST(read(f.put("c.json", "To be, or"), 2, 3, TokensFormat::text).values.front() == 'T');
  BOOST_TEST(contains(complaint([&] { read(f.file("a.txt"), 2, 3, TokensFormat::automatic, 64); }),
                      "text is read as bytes: expected vocab_size >= 256, got 64"));
  check_refused(f.put("d.txt", "Toast"), "too short: expected at least 6 bytes for [2,3], got 5");
}

BOOST_AUTO_TEST_CASE(files_that_are_something_else_are_named) {
  const Files f;
  const auto refused = [&](const std::string& start, const std::string& what) {
    check_refused(f.put("x.txt", start + "                 "), what);
  };
  refused("version https://git-lfs.github.com/spec/v1\n",
          "expected a file of tokens, got a Git LFS");
  refused("\x1f\x8b", "expected a file of tokens, got a gzip file");
  refused("PAR1", "expected a file of tokens, got a Parquet file");
  refused("\x89HDF", "expected an HDF5 file, got one that cannot be opened");
  refused("\x80\x02", "expected a file of tokens, got a Python pickle");
  refused("PK\x03\x04", "expected a file of tokens, got a zip archive, as torch.save writes it");
  check_refused(f.put("empty.txt", ""), "empty");
  check_refused(f.file("missing"), "cannot be read: No such file or directory");
  check_refused(f.path(), "expected a file of tokens or text, got a directory");
}

BOOST_AUTO_TEST_CASE(a_batch_that_cannot_be_is_refused_before_memory_is_taken) {
  const Files f;
  const std::string path = f.put("a.txt", "To be, or not");
  check_refused(path, "expected at most 2^31 - 1 tokens", 6148914691236517206, 3);
  check_refused(path, "expected at most 2^31 - 1 tokens", -1, 3);
  check_refused(path, "too short: expected at least 2000000000 bytes", 1000000000, 2);
}

// 3 TB that take no place on the disk: to read them would take hours.
BOOST_AUTO_TEST_CASE(a_large_file_is_read_no_further_than_needed) {
  const Files f;
  for (const std::string& start :
       {std::string("300 301 302 303 304 305\n7"),
        std::string("[300, 301, 302, 303, 304, 305, 306]"), packed<uint16_t>(counted(6, 300))}) {
    const std::string path = f.put("large.bin", start);
    std::error_code failed;
    std::filesystem::resize_file(path, uint64_t{3} << 40, failed);
    if (failed) return;  // a file system without holes
    const TokensFormat format = start.front() == '['   ? TokensFormat::json
                                : start.front() == '3' ? TokensFormat::numbers
                                                       : TokensFormat::uint16;
    BOOST_TEST(read(path, 1, 6, format).values == kStream);
  }
}

// Every format gives, block by block, what it gives at once, rows one after another.
BOOST_AUTO_TEST_CASE(a_stream_gives_the_tokens_of_every_format) {
  const Files f;
  const std::string numbers = packed<uint16_t>(counted(7));
  const auto streamed = [](Source& source, int64_t most, int64_t block, Values& values,
                           TokensFormat format = TokensFormat::automatic) {
    return stream_tokens(source, format, kVocabulary, most, block,
                         [&](std::span<const int32_t> tokens) {
                           BOOST_TEST(static_cast<int64_t>(tokens.size()) <= block);
                           values.insert(values.end(), tokens.begin(), tokens.end());
                         });
  };
  const Values seven{300, 301, 302, 303, 304, 305, 306};
  for (const std::string& path :
       {f.put("a.bin", numbers), f.put("b.bin", llmc(20240520, 1, 7, numbers)),
        f.put("a.npy", npy("<u2", "(7,)", numbers)), f.put("b.npy", npy("<u2", "(7, 1)", numbers)),
        f.put("a.csv", "300,301,302\n303,304\n305,306"),
        f.put("a.txt", "300 301 302 303 304 305 306"),
        f.put("a.json", "[[300, 301, 302], [303, 304], [305, 306]]"),
        f.put("a.jsonl", "[300, 301, 302]\n{\"input_ids\": [303, 304, 305, 306]}\n")}) {
    for (const int64_t block : {1, 3, 7, 100}) {
      Values values;
      Source source(path);
      BOOST_TEST(streamed(source, INT64_MAX, block, values).tokens == 7, path);
      BOOST_TEST(values == seven, tt::per_element());
    }
    Values values;
    Source source(path);
    BOOST_TEST(streamed(source, 4, 3, values).tokens == 4, path);
    BOOST_TEST(values == (Values{300, 301, 302, 303}), tt::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_gives_what_stands_in_front_of_a_fault) {
  const Files f;
  const auto check_fault = [&](const std::string& path, const std::string& message,
                               std::size_t given, TokensFormat format = TokensFormat::automatic) {
    std::size_t got = 0;
    Source source(path);
    const std::string said = complaint([&] {
      stream_tokens(source, format, kVocabulary, INT64_MAX, 4,
                    [&](std::span<const int32_t> tokens) { got += tokens.size(); });
    });
    BOOST_TEST(contains(said, message), said);
    BOOST_TEST(got == given);
  };
  check_fault(f.put("a.txt", "1 2 3 4 5 6 99999 7"), "token 6: expected a token in 0 .. 50256", 6);
  check_fault(f.put("b.txt", "1 2 3 4 5 x"), "expected a whole number, got 'x'", 5,
              TokensFormat::numbers);
  check_fault(f.put("a.bin", packed<uint16_t>(counted(5)) + "x"), "whole numbers of 2 bytes", 0);
  check_fault(f.put("b.bin", llmc(20240520, 1, 9, packed<uint16_t>(counted(5)))),
              "expected 9 tokens by its header, got 5", 5);
  check_fault(f.put("c.bin", llmc(20240520, 1, 9, packed<uint16_t>(counted(5)) + "x")),
              "token 5: ends in the middle of a number", 5);
  check_fault(f.put("a.json", "[1, 2, 3, 4, 5, \"six\"]"), "expected a whole number", 5);
  check_fault(f.put("empty.txt", ""), "empty: expected tokens or text", 0);
  check_fault(f.put("cut.npy", npy("<u2", "(9,)", packed<uint16_t>(counted(5)))), "ends too early",
              5);
}

BOOST_AUTO_TEST_CASE(formats_have_names) {
  for (const std::string& name : tokens_format_names()) parse_tokens_format(name);
  BOOST_TEST(contains(complaint([] { parse_tokens_format("parquet"); }),
                      "--tokens-format parquet: expected auto, text, numbers"));
}

}  // namespace assay::datasets
