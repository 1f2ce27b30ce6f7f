// Which of the subjects can train, and how they are made.
#pragma once

#include <memory>
#include <string>

#include "cli/subjects.h"
#include "reference/training/adamw.h"
#include "reference/training/dropout.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::cli {

// Makes a subject by its spelling behind --subject. `config` and `weights` must outlive it. Throws
// InputError for one that cannot train (a dump, a library, a program that is started for each
// answer or does not say that it can) and for dropout where the subject or the method has none,
// NoDevice for a device that is not there.
std::unique_ptr<verify::TrainingSubject> make_training_subject(
    const std::string& name, golden::Precision precision, const golden::ModelConfig& config,
    const golden::WeightSource& weights, const reference::AdamwRule& rule,
    const reference::Dropout& dropout, const SubjectOptions& options);

}  // namespace assay::cli
