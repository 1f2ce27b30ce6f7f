// Token sequences from files.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace assay::datasets {

class Source;  // datasets/source.h

// How a file holds tokens. A file with rows gives the first B of them, cut to T; a stream of tokens
// is cut into B rows of T that follow one another.
enum class TokensFormat {
  automatic,  // by content and name
  text,       // each byte is a token; a stream; needs vocab_size >= 256
  numbers,    // whole numbers between blanks, commas, semicolons; lines of several are rows
  json,       // a list of numbers or rows, or an object with one under "input_ids" or "tokens"
  jsonl,      // a list of numbers, or such an object, a line: rows
  uint16,     // little-endian, a stream (nanoGPT), behind a header of llm.c or none
  uint32,     // the same
  npy,        // whole numbers, [N] a stream, [B,T] rows
  npz,        // the array "input_ids" or "tokens", at its root or below inputs/, or the only one
  dump,       // HDF5 or .safetensors: the same, but for an only one; golden files too
};

// Throws InputError "--tokens-format x: ..".
TokensFormat parse_tokens_format(const std::string& name);
std::vector<std::string> tokens_format_names();  // "auto" first

struct Tokens {
  std::vector<int32_t> values;  // [B,T] row-major
  std::string read_as;  // for a summary: "uint16 behind a header of llm.c, 20 of 1000 tokens"
};

// The first batch x positions tokens of a file, which is read no further than that; of an .npz file
// the array is read whole. Throws InputError for a file that cannot be read, is in another format
// (named where it is known), is too short, or holds anything but whole numbers in [0, vocab_size).
Tokens read_tokens(const std::string& path, TokensFormat format, int64_t batch, int64_t positions,
                   int64_t vocab_size);

using TakeTokens = std::function<void(std::span<const int32_t>)>;

struct TokenStream {
  std::string read_as;
  int64_t tokens = 0;
};

// Gives the tokens of a source, up to `most`, one block after another; the last may be shorter.
// Rows are parts of one stream. Memory is a block, but for .npz files and dumps, which are read
// whole and not from a pipe, and for .jsonl, of which it is a line. Throws InputError as
// read_tokens does, once all tokens in front of the fault have been given.
TokenStream stream_tokens(Source& source, TokensFormat format, int64_t vocab_size, int64_t most,
                          int64_t block, const TakeTokens& take);

}  // namespace assay::datasets
