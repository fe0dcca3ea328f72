#include "parallel/build_identity.hpp"

#include <fmt/format.h>
#include <link.h>

#include <cstring>

namespace athanor {
namespace {

std::size_t padded(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

/// Of the first object that is reported, which is the program itself.
int find_identity(dl_phdr_info* info, std::size_t, void* out) {
  auto& identity = *static_cast<std::string*>(out);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
    for (const char* const end = at + header.p_memsz; at + sizeof(ElfW(Nhdr)) <= end;) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* const name = at + sizeof note;
      const char* const content = name + padded(note.n_namesz);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0)
        for (std::size_t b = 0; b < note.n_descsz; ++b)
          identity += fmt::format("{:02x}", static_cast<unsigned char>(content[b]));
      at = content + padded(note.n_descsz);
    }
  }
  return 1;  // no further object
}

}  // namespace

std::string build_identity() {
  std::string identity;
  ::dl_iterate_phdr(find_identity, &identity);
  return identity;
}

}  // namespace athanor
