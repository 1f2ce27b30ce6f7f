// Proposes a map for a dump whose names say nothing: by shapes, then by values.
//
// An element of ours that moved has kept its value. Of each of our tensors some elements are looked
// for in each of theirs, at the places where every layout that fits both shapes would have them
// (golden/maps/layouts.h); where a few agree, all samples are compared. Names decide only between
// tensors of theirs that hold the same values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/file/golden_file.h"
#include "golden/maps/samples.h"

namespace assay::golden {

enum class Sureness { certain, likely, doubtful };
std::string sureness_name(Sureness sureness);

// One line of a proposed map: where one of our tensors is.
struct Suggestion {
  std::string ours, from;
  Shape theirs;
  // As a rule of the map has them; "" and false: not asked for.
  std::string axes, part, factor;
  bool cut = false, last = false, interleaved = false, before_mask = false;
  double error = 0;  // rms of the samples' deviations over that of their values
  double next = 0;   // of the best other values; 0 if no other came near
  Sureness sureness = Sureness::doubtful;
};

struct Suggestions {
  std::vector<Suggestion> lines;       // in order of computation
  std::vector<std::string> not_found;  // ours
  std::vector<std::string> not_used;   // theirs
  double error_limit = 0;              // above it nothing is taken for the same
};

Suggestions suggest_map(const ModelConfig& config, int64_t batch, int64_t positions,
                        const OurValues& ours, const DumpReader& dump);

// The lines as a map: one key for all layers where their names differ by the layer alone.
std::string suggested_map_text(const std::vector<Suggestion>& lines);

}  // namespace assay::golden
