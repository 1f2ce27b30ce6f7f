// What a file of tokens is, by its first bytes and its name.
#pragma once

#include <string_view>

#include "datasets/source.h"
#include "datasets/tokens.h"

namespace assay::datasets {

// A header of 256 int32 in front of the tokens: magic, version, number of tokens.
// Source: llm.c, dev/data/data_common.py.
struct LlmcHeader {
  int32_t magic = 0, version = 0, tokens = 0;
};
inline constexpr std::size_t kLlmcHeaderBytes = 1024;
// Nothing where the first bytes are no such header.
std::optional<LlmcHeader> llmc_header(std::string_view head);

// What a file is, by its first bytes, and what to do with it, where it is compressed or of a kind
// that holds neither text nor tokens as they are read here; else nullptr.
const char* foreign_file(std::string_view head);

// The format of the file. Throws InputError for one that is known and not read (a compressed file,
// a PyTorch file, Parquet, a Git LFS pointer), for bytes that may be uint16 or uint32, and for an
// empty file.
TokensFormat format_of(const Source& source, int64_t vocab_size);

}  // namespace assay::datasets
