// Event files of TensorBoard, as a curve.
//
// A file is a row of frames: length u64, masked CRC-32C of it, data, masked CRC-32C of the data,
// all little-endian. Data is a protocol buffer `Event`; what counts of it are its step and the
// scalars of its summary, written as simple_value or as a tensor of one number. Source: TensorFlow,
// lib/io/record_writer.h, util/event.proto, framework/summary.proto and tensor.proto.
#pragma once

#include <string>
#include <vector>

#include "verify/training/readers/records.h"

namespace assay::verify::training {

// "events.out.tfevents.1700000000.host.1.0", by the file's name.
bool is_event_file(const std::string& path);

// The event files of a run's folder, in the order in which they were begun, those of inner folders
// behind it. Empty where it has none, or is none. Throws InputError for a folder of several runs.
std::vector<std::string> event_files_in(const std::string& folder);

// Of a file, or of all that event_files_in finds. Tags of an inner folder whose name speaks of a
// set are that set's: "loss" in "loss_val", "epoch_loss" in "validation". Where the steps of a tag
// go back, a run was resumed, and what it had done from that step on is left out. A last frame that
// is cut is left out: the run was killed, or goes on. Throws InputError for a frame whose check
// sums are wrong, with its place, and where no tag is a loss, with the tags.
Curve read_event_curve(const std::string& path, const std::string& val_name);

}  // namespace assay::verify::training
