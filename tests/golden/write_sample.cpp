// Writes the sample golden file to the path given, under the capture level given.
#include <cstdio>

#include "tests/golden/sample.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: write_sample FILE hash|stats|full\n");
    return 2;
  }
  namespace golden = assay::golden;
  std::puts(golden::sample::write(argv[1], golden::parse_capture(argv[2])).c_str());
  return 0;
}
