// Whether the test runs under AddressSanitizer: what repeats a check over many numbers takes fewer then, since a
// sanitizer finds what it looks for in the first of them.
#pragma once

namespace athanor {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace athanor
