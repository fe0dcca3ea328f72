// Files that are there after a crash: synced writes and renames.
#pragma once

#include <filesystem>
#include <string>

namespace athanor {

/// fsync of a folder: makes renames and new entries in it durable. @throws DataError
void sync_folder(const std::filesystem::path& path);
/// Writes `text` to path.tmp, syncs, renames to path, syncs the folder. Readers see the old or the new text, never a
/// part. @throws DataError
void replace_text_file(const std::filesystem::path& path, const std::string& text);

}  // namespace athanor
