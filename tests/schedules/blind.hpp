// SPDX-License-Identifier: MIT
//
// blind: what a thread does in its lifetime, the thread sanitizer does not see. So the turns that
// threads take tell it nothing of what the program under test synchronises, and it finds data races
// although only one thread runs at a time.

#ifndef KESTREL_TESTS_SCHEDULES_BLIND_HPP
#define KESTREL_TESTS_SCHEDULES_BLIND_HPP

#include "../asio/sanitizers.hpp"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void AnnotateIgnoreSyncBegin(const char* file, int line);
void AnnotateIgnoreSyncEnd(const char* file, int line);
}

namespace kestrel_tests {

class blind {
public:
  blind() noexcept {
    if constexpr (thread_sanitizer) {
      AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
      AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
      AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
    }
  }

  blind(const blind&) = delete;
  blind& operator=(const blind&) = delete;

  ~blind() {
    if constexpr (thread_sanitizer) {
      AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
      AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
      AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
  }
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_BLIND_HPP
