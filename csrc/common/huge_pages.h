// Large results of an operator are new memory, and a page fault per 4 KiB of it costs several times
// what writing it does: 2 MiB pages where the system lets a program ask for them.
#pragma once

#include <cstdint>

namespace stc {

// Asks for huge pages in [address, address + bytes). Small ranges are left alone.
void advise_huge_pages(void* address, int64_t bytes);

}  // namespace stc
