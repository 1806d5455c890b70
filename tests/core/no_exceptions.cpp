// SPDX-License-Identifier: MIT
//
// wheel<T> in a program without exceptions and without RTTI: it compiles, and it keeps its
// promises.

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this is to be compiled without exceptions and without RTTI"
#endif

#include <kestrel/wheel.hpp>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

namespace {

int failures = 0;

void check(bool condition, const char* what) {
  if (!condition) {
    std::printf("failed: %s\n", what);
    ++failures;
  }
}

template <class Geometry>
void run(const Geometry& geometry) {
  kestrel::wheel<std::unique_ptr<int>, Geometry> wheel(geometry);
  wheel.reserve(100);
  const kestrel::timer_id cancelled = wheel.insert(5, std::make_unique<int>(1));
  const kestrel::timer_id postponed = wheel.insert(700, std::make_unique<int>(2));
  wheel.insert(7'000, std::make_unique<int>(3));
  check(wheel.cancel(cancelled) && !wheel.cancel(cancelled), "cancel");
  check(wheel.postpone(postponed, 30), "postpone");
  check(wheel.next_expiry() <= std::uint64_t{30}, "next_expiry");

  int sum = 0;
  std::uint64_t last = 0;
  wheel.advance(10'000, [&](kestrel::timer_id, std::unique_ptr<int>& payload) {
    sum = 10 * sum + *payload;
    check(wheel.now() > last, "deadline order");
    last = wheel.now();
    if (sum < 1'000)
      wheel.insert(1, std::move(payload));
  });
  check(sum == 22'223, "what fired");
  check(wheel.check_invariants(), "invariants");
  wheel.clear();
  check(wheel.empty(), "clear");
}

} // namespace

int main() {
  run(kestrel::static_geometry<>{});
  run(kestrel::dynamic_geometry::in_ticks(16, 8, 4));
  static_assert(kestrel::wheel_config{}.problem() == kestrel::errc{});
  check(!kestrel::wheel_config{}.validate(), "validate");
  return failures == 0 ? 0 : 1;
}
