#include "datasets/tokens.h"

#include <fmt/format.h>

#include <cmath>
#include <istream>
#include <limits>

#include "datasets/collector.h"
#include "datasets/format.h"
#include "datasets/json_tokens.h"
#include "datasets/number_tokens.h"
#include "datasets/source.h"
#include "golden/contract/error.h"
#include "golden/exchange/dump_tokens.h"
#include "golden/exchange/npy.h"
#include "golden/exchange/npz.h"

namespace assay::datasets {
namespace {

// "128 of 4298239", "128" where the rest is not counted.
std::string share(int64_t wanted, std::optional<uint64_t> all) {
  return all ? fmt::format("{} of {}", wanted, *all) : fmt::format("{}", wanted);
}

// [B,T] can be a buffer at all, and a file of so many bytes can hold it.
void check_size(const Source& source, int64_t batch, int64_t positions) {
  int64_t count = 0;
  if (batch < 1 || positions < 1 || __builtin_mul_overflow(batch, positions, &count) ||
      count > std::numeric_limits<int32_t>::max()) {
    throw InputError(fmt::format("{}: expected at most 2^31 - 1 tokens, got [{},{}]", source.path(),
                                 batch, positions));
  }
}

// No format but the compressed one has more tokens than bytes.
void check_length(const Source& source, const Collector& collector, int64_t batch,
                  int64_t positions) {
  const std::optional<uint64_t> bytes = source.bytes();
  if (!bytes || *bytes >= static_cast<uint64_t>(collector.wanted())) return;
  throw InputError(fmt::format("{}: too short: expected at least {} bytes for [{},{}], got {}",
                               source.path(), collector.wanted(), batch, positions, *bytes));
}

std::string read_text(Source& source, std::istream& in, Collector& collector, int64_t vocab_size) {
  if (vocab_size < 256) {
    throw InputError(fmt::format(
        "{}: text is read as bytes: expected vocab_size >= 256, got {} (--preset small has 256); "
        "--tokens-format reads it as something else",
        source.path(), vocab_size));
  }
  for (int c = in.get(); c != std::istream::traits_type::eof() && !collector.is_full();
       c = in.get()) {
    collector.add(c);
  }
  return fmt::format("text, a byte a token, {} bytes", share(collector.count(), source.bytes()));
}

// A stream may end behind a whole number, and behind as many as a header says.
void check_end(const Source& source, std::streamsize rest, std::optional<uint64_t> said,
               uint64_t got) {
  if (rest != 0) {
    throw InputError(fmt::format("{}: token {}: ends in the middle of a number, {} bytes of it",
                                 source.path(), got, rest));
  }
  if (said && got < *said) {
    throw InputError(fmt::format("{}: ends too early: expected {} tokens by its header, got {}",
                                 source.path(), *said, got));
  }
}

template <class T>
std::string read_binary(Source& source, std::istream& in, Collector& collector) {
  std::optional<LlmcHeader> header = llmc_header(source.head());
  std::optional<uint64_t> all;
  if (header) {
    in.ignore(kLlmcHeaderBytes);
    if (header->tokens < 0) {
      throw InputError(fmt::format("{}: header of llm.c: expected a number of tokens, got {}",
                                   source.path(), header->tokens));
    }
    all = static_cast<uint64_t>(header->tokens);
  } else if (source.bytes()) {
    if (*source.bytes() % sizeof(T) != 0) {
      throw InputError(fmt::format("{}: expected whole numbers of {} bytes, got {} bytes",
                                   source.path(), sizeof(T), *source.bytes()));
    }
    all = *source.bytes() / sizeof(T);
  }
  T value = 0;
  for (uint64_t i = 0; !collector.is_full() && (!header || i < *all); ++i) {
    if (!in.read(reinterpret_cast<char*>(&value), sizeof value)) {
      if (collector.is_stream()) check_end(source, in.gcount(), header ? all : std::nullopt, i);
      break;
    }
    collector.add(static_cast<int64_t>(value));
  }
  return fmt::format("uint{}{}, {} tokens", 8 * sizeof(T),
                     header ? fmt::format(" behind a header of llm.c, version {}", header->version)
                            : " without a header, as nanoGPT has it",
                     share(collector.count(), all));
}

// Values of an array of shape [N] or [rows, columns], of which `next` gives one after another.
template <class Next>
void add_array(const golden::NpyHeader& header, const std::string& where, Collector& collector,
               Next&& next) {
  if (golden::is_float(header.element) || header.element == golden::Element::boolean) {
    throw InputError(fmt::format("{}: expected whole numbers, got {}; convert them with astype",
                                 where, golden::element_name(header.element)));
  }
  const golden::Shape& shape = header.shape;
  if (shape.empty() || shape.size() > 2) {
    throw InputError(
        fmt::format("{}: expected [N] or [B,T], got {}", where, golden::shape_text(shape)));
  }
  const bool rows = shape.size() == 2;
  for (int64_t b = 0; b < (rows ? shape[0] : 1) && !collector.is_full(); ++b) {
    if (rows) collector.begin_row();
    for (int64_t t = 0; t < shape.back(); ++t) {
      if (!rows && collector.is_full()) break;
      collector.add(static_cast<int64_t>(next()));
    }
    if (rows) collector.end_row();
  }
}

std::string array_text(const std::string& kind, const golden::NpyHeader& header) {
  return fmt::format("{} {} {}", kind, golden::element_name(header.element),
                     golden::shape_text(header.shape));
}

std::string read_npy(Source& source, std::istream& in, Collector& collector) {
  const std::string& path = source.path();
  std::string text(golden::kNpyPreamble + 2, '\0');
  const auto read = [&](char* out, std::size_t bytes) {
    if (in.read(out, static_cast<std::streamsize>(bytes))) return;
    throw InputError(path + ": ends too early; save it again");
  };
  read(text.data(), text.size());
  const std::size_t start = text.size();
  text.resize(golden::npy_header_bytes(text, path));
  if (text.size() > start) read(text.data() + start, text.size() - start);
  const golden::NpyHeader header = golden::parse_npy_header(text, path);
  if (header.fortran_order && header.shape.size() == 2) {
    throw InputError(path +
                     ": expected rows one after another, got Fortran order; save "
                     "numpy.ascontiguousarray of it");
  }
  std::vector<std::byte> bytes(golden::element_bytes(header.element));
  double value = 0;
  add_array(header, path, collector, [&] {
    read(reinterpret_cast<char*>(bytes.data()), bytes.size());
    golden::decode(header.element, bytes.data(), {&value, 1}, path);
    return value;
  });
  return array_text("numpy array,", header);
}

std::string read_npz(const Source& source, Collector& collector) {
  const golden::NpzReader reader(source.path(), golden::Reading::lenient);
  const golden::NpzEntry* found = nullptr;
  for (const char* name : {"input_ids", "tokens", "inputs/input_ids", "inputs/tokens"}) {
    for (const golden::NpzEntry& entry : reader.entries()) {
      if (found == nullptr && entry.name == name) found = &entry;
    }
  }
  if (found == nullptr && reader.entries().size() == 1) found = &reader.entries().front();
  if (found == nullptr) {
    std::vector<std::string> names;
    for (const golden::NpzEntry& entry : reader.entries()) names.push_back(entry.name);
    throw InputError(fmt::format(
        "{}: expected an array input_ids or tokens, or a single one, got {}: {}", source.path(),
        names.size(), golden::printable(fmt::format("{}", fmt::join(names, ", ")))));
  }
  const std::vector<double> values = reader.read(*found);  // throws its problem
  std::size_t at = 0;
  add_array(found->header, source.path() + ": " + golden::printable(found->name), collector,
            [&] { return values[at++]; });
  return array_text("numpy array " + golden::printable(found->name) + ",", found->header);
}

std::string read_dump(const Source& source, Collector& collector) {
  const std::string& path = source.path();
  const golden::Tensor tokens = golden::dump_tokens(path);
  if (tokens.shape.empty()) {
    throw InputError(path +
                     ": expected a tensor tokens or input_ids, at its root or below inputs/, got "
                     "none; save the token ids with numpy.save");
  }
  std::size_t at = 0;
  add_array({golden::Element::i64, false, tokens.shape}, path, collector, [&] {
    const double token = tokens.values[at++];
    if (token == std::floor(token)) return token;
    throw InputError(fmt::format("{}: expected whole numbers, got {}", path, token));
  });
  return "tokens of a dump, " + golden::shape_text(tokens.shape);
}

// Reads the source in a format that is not `automatic`; returns what it was read as.
std::string read_into(Source& source, TokensFormat format, int64_t vocab_size,
                      Collector& collector) {
  std::istream in(&source);
  in.exceptions(std::ios::badbit);  // of what the source throws
  switch (format) {
    case TokensFormat::automatic:
    case TokensFormat::text:
      return read_text(source, in, collector, vocab_size);
    case TokensFormat::numbers:
      return read_number_tokens(in, source.path(), collector) ? "numbers, a row a line"
                                                              : "numbers, one after the other";
    case TokensFormat::json:
      read_json_tokens(in, source.path(), collector);
      return "lists in JSON";
    case TokensFormat::jsonl:
      read_jsonl_tokens(in, source.path(), collector);
      return "lists in JSON, a row a line";
    case TokensFormat::uint16:
      return read_binary<uint16_t>(source, in, collector);
    case TokensFormat::uint32:
      return read_binary<uint32_t>(source, in, collector);
    case TokensFormat::npy:
      return read_npy(source, in, collector);
    case TokensFormat::npz:
      return read_npz(source, collector);
    case TokensFormat::dump:
      return read_dump(source, collector);
  }
  return "";
}

// Of a pipe nothing but the first bytes is known.
void check_is_file(const Source& source, TokensFormat format) {
  const bool whole = format == TokensFormat::npz || format == TokensFormat::dump;
  if (!whole || source.bytes()) return;
  throw InputError(fmt::format(
      "{}: expected tokens one after another, got an archive, which is read as a file: name it",
      source.path()));
}

}  // namespace

Tokens read_tokens(const std::string& path, TokensFormat format, int64_t batch, int64_t positions,
                   int64_t vocab_size) {
  Source source(path);
  check_size(source, batch, positions);
  Collector collector(path, batch, positions, vocab_size);
  if (format == TokensFormat::automatic) format = format_of(source, vocab_size);
  if (format != TokensFormat::npz && format != TokensFormat::dump)
    check_length(source, collector, batch, positions);
  Tokens result;
  result.read_as = read_into(source, format, vocab_size, collector);
  result.values = collector.take();
  return result;
}

TokenStream stream_tokens(Source& source, TokensFormat format, int64_t vocab_size, int64_t most,
                          int64_t block, const TakeTokens& take) {
  if (format == TokensFormat::automatic) format = format_of(source, vocab_size);
  check_is_file(source, format);
  Collector collector(source.path(), vocab_size, most, block, take);
  TokenStream result;
  try {
    result.read_as = read_into(source, format, vocab_size, collector);
  } catch (const InputError&) {
    collector.hand_on();  // what stands in front of the fault
    throw;
  }
  collector.hand_on();
  result.tokens = collector.count();
  return result;
}

}  // namespace assay::datasets
