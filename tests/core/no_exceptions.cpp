// SPDX-License-Identifier: MIT
//
// wheel<T> as game servers have it, without exceptions and without RTTI: it compiles, and it keeps
// its promises; it lives in memory of theirs, and they are told when a check of its own logic
// fails.

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this is to be compiled without exceptions and without RTTI"
#endif

// Defined before the headers of Kestrel, it is asked instead of assert().
int checks = 0;
int violations = 0;
#define KESTREL_ASSERT(condition) static_cast<void>((condition) ? ++checks : ++violations)

#include <kestrel/wheel.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

int news = 0;

void* operator new(std::size_t size) {
  ++news;
  return std::malloc(size);
}

void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

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

/// A block of memory that is given back as a whole.
struct region {
  alignas(64) std::byte bytes[1 << 20];
  std::size_t used = 0;
};

/// Without a default constructor, since it has to be told its region.
template <class T>
struct region_allocator {
  using value_type = T;

  explicit region_allocator(region& r) noexcept : memory{&r} {}
  template <class U>
  region_allocator(const region_allocator<U>& other) noexcept : memory{other.memory} {}

  T* allocate(std::size_t n) {
    memory->used = (memory->used + alignof(T) - 1) / alignof(T) * alignof(T);
    T* const p = reinterpret_cast<T*>(memory->bytes + memory->used);
    memory->used += n * sizeof(T);
    if (memory->used > sizeof(memory->bytes))
      std::abort();
    return p;
  }

  void deallocate(T*, std::size_t) noexcept {}

  friend bool operator==(const region_allocator&, const region_allocator&) = default;

  region* memory;
};

void run_in_a_region() {
  static region memory;
  const int before = news;
  kestrel::wheel<int, kestrel::static_geometry<>, region_allocator<int>> wheel(
      {}, 0, region_allocator<int>(memory));
  for (int i = 0; i != 1'000; ++i)
    wheel.insert(static_cast<std::uint64_t>(i), i);
  int sum = 0;
  wheel.advance(1'000, [&](kestrel::timer_id, int& i) { sum += i; });
  check(sum == 499'500, "what fired in a region");
  check(memory.used >= wheel.memory_usage(), "memory_usage in a region");
  check(news == before, "no memory but the region's");
}

void break_a_rule() {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(1, 1);
  check(checks != 0, "the program's KESTREL_ASSERT is asked");
  check(violations == 0, "and always holds");
  check(wheel.claimed_payload(id) == 1, "a payload");
  check(violations == 1, "unless it does not: this timer was not claimed");
}

} // namespace

int main() {
  run_in_a_region();
  run(kestrel::static_geometry<>{});
  run(kestrel::dynamic_geometry::in_ticks(16, 8, 4));
  static_assert(kestrel::wheel_config{}.problem() == kestrel::errc{});
  check(!kestrel::wheel_config{}.validate(), "validate");
  break_a_rule();
  return failures == 0 ? 0 : 1;
}
