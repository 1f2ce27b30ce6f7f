// Files that were damaged at random: each is refused with an InputError, or says the same shapes as
// the undamaged one. A crash, a hang or a huge allocation ends the test.
#include <boost/test/unit_test.hpp>
#include <random>
#include <sstream>

#include "golden/file/golden_file.h"
#include "tests/golden/npz_files.h"

namespace assay::golden {
namespace {

using namespace sample;

constexpr int kMutations = 800;
constexpr uint32_t kSeed = 20240917;

// One of: a few flipped bits, a few random bytes, a cut, a doubled, a removed or a moved piece.
std::string mutated(std::string bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::size_t at = below(bytes.size()), length = 1 + below(40);
  const std::size_t count = 1 + below(3);
  switch (below(6)) {
    case 0:
      for (std::size_t i = 0; i < count; ++i) {
        char& byte = bytes[below(bytes.size())];
        byte = static_cast<char>(byte ^ (1 << below(8)));
      }
      return bytes;
    case 1:
      for (std::size_t i = 0; i < count; ++i) {
        bytes[below(bytes.size())] = static_cast<char>(below(256));
      }
      return bytes;
    case 2:
      return bytes.substr(0, at);
    case 3:
      return bytes.insert(at, bytes.substr(below(bytes.size()), length));
    case 4:
      return bytes.erase(at, length);
    default:
      return bytes.replace(at, length, bytes.substr(below(bytes.size()), length));
  }
}

// Opens the file, reads everything in it and says what shapes it has.
std::string shapes_of(const std::string& path) {
  std::ostringstream shapes;
  const DumpReader reader(path);
  for (const DumpEntry& entry : reader.entries()) {
    reader.read(entry.name);
    shapes << shape_text(entry.shape);
  }
  return shapes.str();
}

void throw_mutations_at(const std::string& name, const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.file(name);
  put_bytes(path, bytes);
  const std::string due = shapes_of(path);
  std::mt19937 random(kSeed);
  int refused = 0;
  for (int i = 0; i < kMutations; ++i) {
    put_bytes(path, mutated(bytes, random));
    std::string shapes;
    const std::string said = complaint([&] { shapes = shapes_of(path); });
    if (said.empty()) {
      BOOST_TEST(shapes == due, name << ", seed " << kSeed << ", mutation " << i);
    } else {
      BOOST_TEST(said.starts_with(path), said);
      ++refused;
    }
  }
  BOOST_TEST(refused > kMutations / 4);  // the mutations do reach the structure
}

}  // namespace

BOOST_AUTO_TEST_CASE(damaged_safetensors_are_refused_or_say_the_same_shapes) {
  throw_mutations_at("x.safetensors", small_safetensors());
}

BOOST_AUTO_TEST_CASE(damaged_npz_files_are_refused_or_say_the_same_shapes) {
  for (const zip_int32_t method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    const TemporaryFolder folder;
    put_zip(folder.file("x.npz"), small_arrays(), method);
    throw_mutations_at("x.npz", bytes_of(folder.file("x.npz")));
  }
}

}  // namespace assay::golden
