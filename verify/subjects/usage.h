// What a program uses of the machine.
#pragma once

#include <cstdint>
#include <string>

namespace assay::verify {

struct FolderUse {
  uint64_t bytes = 0;
  int64_t entries = 0;  // counting stops at kMostEntries
};

inline constexpr int64_t kMostEntries = 100'000;

// Of a folder with all below it; no symbolic link is followed.
FolderUse folder_use(const std::string& folder);

// Free for this user in the file system of a folder; 0 where that is not known.
uint64_t free_bytes(const std::string& folder);

// Resident memory of all processes below `process`; what several of them share counts once where
// the kernel says how many share it.
uint64_t resident_below(int process);

}  // namespace assay::verify
